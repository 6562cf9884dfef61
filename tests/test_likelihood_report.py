"""The report prints what the study's files hold, keeps its numbers, says what they lack, and leaves the files alone."""

import json

import numpy as np
import pandas as pd
import pytest
import tyro

from analyses.likelihood.arms import PLACEBO
from analyses.likelihood.decoding import UNSTEERED
from analyses.likelihood.prediction import PLACES, PREDICTORS, prediction
from analyses.likelihood.report import TABLES, find, report
from tests.documents import plain, unmeasured

METHODS = (PLACEBO, "caa, geodesic")
ESTIMATES = ("t_star", "log_positive_change", "log_negative_change", "rises", "outside", "over_steered",
             "outside_at_start")  # fmt: skip
PROMPTS = 40


def estimates(**values: float) -> dict[str, float]:
    return {f"{name}{end}": x + d for name, x in values.items() for end, d in (("", 0), ("_low", -0.25), ("_high", 1))}


def ranks() -> pd.DataFrame:
    """How states that know nothing of it rank the posteriors of texts."""
    rng = np.random.default_rng(0)
    states = [f"{place}_{predictor}" for place in PLACES for predictor in PREDICTORS]
    return prediction(pd.concat(
        pd.DataFrame({"method": method, "strength": strength, "prompt": range(PROMPTS), "group": range(PROMPTS),
                      "log_likelihood": 0.0, "success": rng.uniform(size=PROMPTS) > 0.5,
                      "score": rng.uniform(size=PROMPTS), **{name: rng.normal(size=PROMPTS) for name in states}})
        for method, strength in [(UNSTEERED, 0.0), *((m, s) for m in METHODS for s in (0.4, 0.8))]
    ))  # fmt: skip


def write(folder, shift: float, ranks: pd.DataFrame) -> None:
    """What the study writes of a layer, as far as the report reads it."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"settings": {"declared": 0.4}}))
    summary = [{"method": m, **estimates(**{x: shift + i + 10 * k for i, x in enumerate(ESTIMATES)})}
               for k, m in enumerate(METHODS)]  # fmt: skip
    gap = {"side": ["positive", "negative"], "quantity": "log_positive", "mean": [-50.0, -92]}
    frames = {
        "summary": pd.DataFrame(summary),
        "references": pd.DataFrame(gap),
        "prediction": ranks,
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Layer 2 is judged, layer 10 is not."""
    folder, found = tmp_path_factory.mktemp("likelihood"), ranks()
    write(folder / "moods" / "layer-2", 0.0, found[found["scope"] != "between, equal strength"])
    write(folder / "moods" / "layer-10", 100.0, pd.DataFrame())
    return folder


@pytest.fixture(scope="module")
def printed(results):
    """The cells of every printed row, by the title of its table."""
    parts = [part.strip("*") for part in report(results).split("\n\n")]
    sections = {title: parts[parts.index(title) + 1 :] for title in TABLES}
    lines = {title: body[0].splitlines() for title, body in sections.items()}
    return {title: [[x.strip() for x in line.split("|")[1:-1]] for line in table] for title, table in lines.items()}


def rows(printed, start: str) -> list[list[str]]:
    return next(table for title, table in printed.items() if title.startswith(start))


def test_cells_are_those_of_the_files(results, printed):
    assert rows(printed, "T*: ")[2:] == [
        ["moods 2", "42", "0.00 [−0.25, 1.00]", "10.00 [9.75, 11.00]"],
        ["moods 10", "42", "100.00 [99.75, 101.00]", "110.00 [109.75, 111.00]"],
    ]
    assert rows(printed, "At the declared")[3][:5] == ["moods 2", "caa, geodesic", "0.4", "11 [11, 12]", "12 [12, 13]"]
    kept = pd.read_parquet(results / "moods" / "layer-2" / "prediction.parquet")
    h = kept.query("place == 'tokens' and predictor == 'h_calibrated' and scope == 'within, all methods'").iloc[0]
    assert rows(printed, "Does the likelihood")[3][4].startswith(f"{h['auc']:.2f} [{h['auc_low']:.2f}, ")


def test_what_the_files_lack_is_said(results, printed):
    ranked = rows(printed, "Does the likelihood")[2:]
    assert [row[0] for row in ranked] == ["moods 2"] * 3
    assert {row[-1] for row in ranked} == {"not in the file"}
    assert report(results).count("No such rows in the files of moods 10.") == 1


def of_the_studies(results) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in results.glob("moods/**/*") if file.is_file()}


def test_what_is_printed_is_kept_as_numbers_and_the_studies_are_left_alone(results, printed):
    before = of_the_studies(results)
    assert tyro.cli(report, args=[str(results)]) == report(results)
    assert before == of_the_studies(results)
    kept = {file.stem: pd.read_parquet(file) for file in (results / "report").glob("*.parquet")}
    assert {*kept} == {measured.__name__ for measured, _ in TABLES.values()}
    for title, (measured, _) in TABLES.items():
        cells = [plain(cell) for row in printed[title][2:] for cell in row[1:]]
        assert unmeasured(cells, kept[measured.__name__]) == []
    assert {*kept["t_star"]["layer"]} == {2, 10}


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path.name}.*holds no layer-N/run.json"):
        find(tmp_path)
