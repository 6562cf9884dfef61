"""What cannot be fitted at a layer stands in a study as what it is, with its reason, and the others are reported."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import odesteer_tl as ode
from analyses.barrier_certification import CertificationSettings
from analyses.certification.result import READING
from analyses.effects.prediction import layer_picks
from analyses.likelihood.material import Material
from analyses.likelihood.plan import Plan
from analyses.likelihood.report import report
from analyses.likelihood.running import Layers, likelihood_cell
from analyses.likelihood.study import Settings
from analyses.refusal import Refusal, fitted, unless_refused
from analyses.search.rules import Rules
from analyses.studies import certification, comparison, layer_study, likelihood, search_layer
from analyses.sweep import IncompleteStudy, Refused
from odesteer_tl._difference import NoDifference
from odesteer_tl.barriers.calibration import Calibration, ScoresAlike
from odesteer_tl.methods.registry import Method
from tests.studies import certified

SMALL = {"max_new_tokens": 1, "strengths": (0.3,), "cross_fit": True}
GRID = {"fractions": (0.2, 0.25, 0.45, 0.1), "angle": 0.8, "steps": 2, "declared": 0.4, "strengths": (0.4,),
        "max_new_tokens": 1}  # fmt: skip
PROMPTS = ode.organism.prompts(9, 7)
#: what is said where the classes' activations are the same
SAME = "are the same activations within rounding"


def ending(n, positive, negative):
    """Pairs of the organism's concept whose last tokens are these."""
    texts = ode.organism.contrast("valence", n, 0)
    sides = ((texts.positive, positive), (texts.negative, negative))
    return ode.ContrastSet.from_texts(*([f"{text.rstrip('. ')} {last}" for text in side] for side, last in sides))


def attending(share):
    """The organism with this share of what its first block attends to: of nothing, layer 0 knows the last token."""
    model = ode.load_model("organism")
    with torch.no_grad():
        model.original_model.model.layers[0].self_attn.o_proj.weight.mul_(share)
    return model


@pytest.fixture(scope="module")
def blind():
    return attending(0.0)


@pytest.fixture(scope="module")
def short_sighted():
    """So little of the other tokens is in layer 0 that the published sketch learns weights of 0, and h is one number.

    So it is in SmolLM2, of pairs that end in a full stop.
    """
    return attending(1e-5)


def test_scores_that_are_one_number_are_refused_as_a_kind_of_their_own():
    with pytest.raises(ScoresAlike, match=r"all 2\.5 within rounding"):
        Calibration.of(torch.full((9,), 2.5), torch.full((8,), 2.5))
    assert issubclass(ScoresAlike, NoDifference)
    assert issubclass(NoDifference, ValueError)


def test_a_layer_whose_h_is_one_number_stands_in_the_certification(short_sighted, tmp_path):
    settings = CertificationSettings(**SMALL)
    found = certified(short_sighted, ending(24, ".", "."), [0, 4], settings, PROMPTS)
    assert str(found).startswith("At layer 0 nothing is certified: positive and negative held-out scores are all 0")
    assert "WARNING" not in found.warning()  # which is about layers whose h was certified
    row = found.frame().set_index(["layer", "what"]).loc[0]
    assert list(row.index) == [READING]
    assert row.loc[READING, ["value", "n"]].tolist() == [0.5, 48]
    assert row.loc[READING, "low"] < 0.4 < 0.6 < row.loc[READING, "high"]
    assert found.table()[0].notna().sum() == 1
    assert found.table()[4].notna().all()
    assert set(found.steps["layer"]) == {4}
    kept = json.loads((found.save(tmp_path / "out") / "run.json").read_text())["population"]
    assert "all 0 within rounding" in kept["0"]["nothing"]
    assert kept["4"]["violation rate"]["n"] == 9


def test_a_certification_of_nothing_but_such_layers_is_finished(blind, tmp_path):
    """Its method has no barrier, and neither has the layer."""
    found = certification(blind, ending(24, ".", "."), PROMPTS, layers=[0], out=tmp_path / "out", method="caa", **SMALL)
    assert SAME in found.warning()
    assert found.findings["what"].tolist() == [READING]
    assert found.steps.empty
    assert (tmp_path / "out" / "findings.parquet").exists()


def test_the_likelihood_study_says_at_which_layer_nothing_can_be_fitted(blind, tmp_path):
    out = tmp_path / "own"
    material = Material(blind, Plan.of(Settings(**GRID), ending(100, ".", "."), PROMPTS), (0, 4))
    rows = [likelihood_cell(material, {"layer": layer}).assign(layer=layer) for layer in (0, 4)]
    found = Layers.of(pd.concat(rows), "")
    found.studies[0].save(out / "layer-0")
    said = str(found).split("\n\n")
    assert "layer 0" in said[0]
    assert f"Nothing is fitted here: positive (20 rows) and negative (20 rows) {SAME}" in said[0]
    assert "T* (rad)" in said[1]
    frame = found.frame().set_index("layer")
    assert frame.loc[0, ["auc", "method"]].tolist()[0] == 0.5
    assert len(frame.loc[4]) == 7
    assert {path.name for path in (out / "layer-0").iterdir()} == {"run.json"}
    assert report(out).startswith("own 0: nothing is fitted there: ")


def test_a_class_that_never_varies_has_no_density_but_is_read(blind, tmp_path):
    """Positives that all end in one word and negatives in another: at layer 0 each class is one point."""
    found = likelihood(blind, ending(100, ".", "valley"), PROMPTS, layers=[0], out=tmp_path / "own", **GRID)
    assert "128 of 128 dimensions never vary" in str(found)
    assert found.frame()["auc"].tolist() == [1.0]


def test_the_layer_study_goes_on_where_no_arm_can_be_fitted(blind, tmp_path):
    given = {"layers": [0, 4], "methods": ["caa"], "angle": [0.3], "kl": [], "cross_fit": True, "max_new_tokens": 2}
    found = layer_study(blind, ending(24, ".", "."), PROMPTS, "length", out=tmp_path, measures=("survival",), **given)
    assert "At layer 0 no method could be fitted: positive (24 rows) and" in str(found).split("\n")[0]
    assert found.report.refused[["layer", "label"]].to_numpy().tolist() == [[0, "random, geodesic"], [0, "caa"]]
    assert set(found.rows["layer"]) == {-1, 4}
    assert set(found.frame()["method"]) == {"unsteered", "random, geodesic", "caa"}
    with pytest.raises(ValueError, match=r"^At layer 0 no method could be fitted"):
        layer_study(
            blind, ending(24, ".", "."), PROMPTS, "length", out=tmp_path, measures=(), **given | {"layers": [0]}
        )
    with pytest.warns(UserWarning, match=r"At layer 0 no method could be fitted: .* The search leaves that out"):
        searched = search_layer(blind, ending(24, ".", "."), PROMPTS, "length", out=tmp_path / "search", looked=2,
                                rules=Rules(budget=1.0), **given)  # fmt: skip
    assert set(searched.frame()["layer"].dropna()) == {4}


# --- methods that refuse


#: the words of `selective_rotation`, of 20 pairs of the organism's concept at layer 4 and at no other
ONE_SIGN = "positive and negative have means that project with one sign on their difference"


@pytest.fixture(scope="module")
def organism_texts():
    return ode.organism.contrast("valence", 20, 0)


def test_a_method_that_refuses_at_a_layer_stands_there_as_refused(organism, organism_texts, tmp_path):
    given = {"layers": [2, 4], "methods": ["caa", "selective_rotation"], "angle": [0.3], "kl": [], "cross_fit": True,
             "max_new_tokens": 1}  # fmt: skip
    found = layer_study(organism, organism_texts, PROMPTS, "length", out=tmp_path, measures=("geometry",), **given)
    said = str(found)
    assert f"At layer 4 selective_rotation refused: {ONE_SIGN}" in said.split("\n")[0]
    success = said.split("Success by layer")[1].split("\n\n")[1].splitlines()
    (row,) = [line for line in success if "selective_rotation" in line]
    assert row.split("|")[-2].strip() == "refused"
    assert row.split("|")[-3].strip().endswith("]")
    refused = pd.read_parquet(found.directory / "report" / "refused.parquet")
    assert refused[["layer", "label", "method"]].to_numpy().tolist() == [[4, *["selective_rotation"] * 2]]
    assert refused["why"][0].startswith(ONE_SIGN)
    with pytest.warns(UserWarning, match=f"At layer 4 selective_rotation refused: {ONE_SIGN}"):
        searched = search_layer(organism, organism_texts, PROMPTS, "length", out=tmp_path / "search", looked=0,
                                rules=Rules(budget=1.0), **given)  # fmt: skip
    arms = searched.frame()[["layer", "label"]].dropna().to_numpy().tolist()
    assert arms == [[2, "caa"], [2, "selective_rotation"], [4, "caa"]]


def test_a_method_that_refuses_stands_in_a_comparison_and_its_audit(organism, organism_texts, tmp_path):
    found = comparison(organism, organism_texts, PROMPTS, "length", layer=4, methods=["caa", "selective_rotation"],
                       angle=[0.3], displacement=[], kl=[], cross_fit=True, max_new_tokens=1, measures=("path",),
                       out=tmp_path)  # fmt: skip
    report = found.report
    assert report.for_paper().loc["selective_rotation", "angle 0.3"] == "refused"
    assert set(report.methods["method"]) == {
        "caa",
        "random",
        "odesteer_kernel, ten Euler steps",
        "odesteer_kernel, one step",
    }
    audit = (found.directory / "report" / "audit.md").read_text()
    assert f"| selective_rotation | fitted | refused: {ONE_SIGN}" in " ".join(audit.split())


@pytest.fixture
def own(monkeypatch):
    """A method of one's own whose fit does what it is told to."""

    def enter(fit):
        monkeypatch.setitem(ode.METHODS, "own", Method(fit, "euler", 1, "this test"))

    return enter


def test_what_a_method_did_not_say_is_no_refusal(own, organism, organism_texts, tmp_path):
    def fit(positive, negative, seed=0):
        raise ValueError("no pairs, no fit; pass pairs")

    own(fit)
    with pytest.raises(Refusal, match=r"^no pairs, no fit; pass pairs$"):
        fitted("own", lambda: fit(1, 2))
    assert unless_refused(lambda: fitted("own", lambda: fit(1, 2))) == Refused("no pairs, no fit; pass pairs")
    others = (
        lambda: np.linalg.inv(np.zeros((2, 2))),  # a kind of its own
        lambda: LogisticRegression().fit([[np.nan]], [1]),  # in the words of another library
        lambda: torch.zeros(2) @ torch.zeros(3),
    )
    for other in others:
        with pytest.raises((ValueError, RuntimeError)) as raised:
            unless_refused(lambda other=other: fitted("own", other))
        assert not isinstance(raised.value, Refusal)
    own(lambda positive, negative, seed=0: LogisticRegression().fit([[np.nan]], [1]))
    with pytest.raises(IncompleteStudy, match="Input X contains NaN"):
        comparison(organism, organism_texts, PROMPTS, "length", layer=2, methods=["own"], angle=[0.3], displacement=[],
                   kl=[], cross_fit=True, max_new_tokens=1, measures=(), out=tmp_path)  # fmt: skip


def test_a_certification_says_where_its_method_refuses(organism, organism_texts):
    settings = CertificationSettings(**SMALL, method="selective_rotation")
    found = certified(organism, organism_texts, [4], settings, PROMPTS)
    assert str(found).startswith(f"At layer 4 nothing is certified: {ONE_SIGN}")
    assert found.findings["what"].tolist() == [READING]


def test_an_arm_that_has_learned_nothing_does_not_move_and_is_measured(short_sighted, tmp_path):
    """The sketch's weights are 0 at layer 0, and every ratio of what it gained to what it could is still a number."""
    found = layer_study(short_sighted, ending(24, ".", "."), PROMPTS, "length", layers=[0], angle=[0.3], kl=[],
                        methods=["odesteer", "caa"], cross_fit=True, measures=("geometry",),
                        max_new_tokens=1, out=tmp_path)  # fmt: skip
    frame = found.frame().set_index("method")
    assert frame.loc["odesteer", ["reached", "angle"]].tolist() == [0, 0]
    assert frame.loc["caa", "reached"] == 1


def test_a_layer_of_which_an_indicator_is_not_known_is_not_picked_by_it():
    rows = [{"prompt": p, "split": split, "layer": layer, "label": "caa", "budget": "kl", "level": 0.1,
             "success": p % 4 < layer, "score": float(p % 4 < layer),
             "log_ratio_change": float("nan") if layer == 1 else float(layer),
             "gain": float("nan")}
            for p in range(24) for split in ("select", "test") for layer in (1, 2, 3)]  # fmt: skip
    found = layer_picks(pd.DataFrame(rows), "caa", "kl", 0.1).set_index("picked by")
    assert found.loc["log_ratio_change", "layer"] == 3
    assert found.loc["log_ratio_change", "rank_correlation"] > 0.999
    assert "gain" not in found.index
