"""What intervals, bands and tests attain on simulated units of a known truth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from analyses.coverage import CoverageConfig
from analyses.inference import exact
from analyses.inference.claim import LEVEL, Claim
from analyses.inference.claims import claims
from analyses.runs import refuse_existing, save_run

#: standard errors of the simulation by which a row may fall short
TOLERANCE = 4.0


def attained(claim: Claim, n: int, config: CoverageConfig) -> dict[str, float]:
    """How often it holds where it is reported, the standard error that the simulation leaves, and the refusals."""
    rng = np.random.default_rng([config.seed, n])
    held, refused = 0, 0
    for i in range(config.simulations):
        try:
            held += claim.holds(rng, n, i)
        except ValueError:
            if n > claim.refused:
                raise
            refused += 1
    made = config.simulations - refused
    least = claim.least(n)
    error = float(np.sqrt(least * (1 - least) / made)) if made else np.nan
    return {"attained": held / made if made else np.nan, "error": error, "refused": refused / config.simulations}


def simulate(config: CoverageConfig) -> pd.DataFrame:
    """A row a claim and number of prompts.

    Returns:
        `nominal`, `stated` (what the documents say it attains, where that is less), `attained` with the standard error
        of the simulation, the share of simulations `refused`, and whether the row falls `short`; NaN where all were
        refused.

    Raises:
        ValueError: `only` is found in no name.
    """
    known = [*claims(config.resamples)]
    chosen = [c for c in known if re.search(config.only, f"{c.name}, {c.data}")]
    if not chosen:
        there = "; ".join(dict.fromkeys(claim.name for claim in known))
        raise ValueError(f"only={config.only!r} is found in none of what is simulated; there are {there}")
    # like beside like, in the order in which a name first comes
    names = list(dict.fromkeys(claim.name for claim in chosen))
    chosen.sort(key=lambda claim: names.index(claim.name))
    rows: list[dict[str, object]] = []
    for claim, n in _progress([(claim, n) for claim in chosen for n in config.prompts]):
        found = attained(claim, n, config)
        short = found["attained"] < claim.least(n) - TOLERANCE * found["error"] - 1e-12
        rows.append({"claim": claim.name, "data": claim.data, "n": n, "nominal": LEVEL, "stated": claim.least(n),
                     **found, "short": bool(short)})  # fmt: skip
    return pd.DataFrame(rows)


def _progress(work: list[tuple[Claim, int]]) -> Iterable[tuple[Claim, int]]:
    """What there is to do, with the time left: a pair weighs as many prompts as it has, and some for being begun."""
    with tqdm(total=sum(50 + n for _, n in work), desc="claims", mininterval=5,
              bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left") as bar:  # fmt: skip
        for claim, n in work:
            yield claim, n
            bar.update(50 + n)


def enumerate_equivalence(sizes: Iterable[int] = exact.SIZES, margins: Iterable[float] = exact.MARGINS) -> pd.DataFrame:
    """The largest chance of declaring 0 and 1 equivalent that differ by the margin: a row an n and margin."""
    return pd.DataFrame([{"n": n, "margin": margin, "alpha": exact.ALPHA, "declared": exact.worst(n, margin)}
                         for n in tqdm([*sizes], desc="enumerated") for margin in margins])  # fmt: skip


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row a claim, a column a number of prompts: what is attained ± the standard error; * where it falls short."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for row in table.to_dict("records"):
        line = rows.setdefault((row["claim"], row["data"]), {"claim": row["claim"], "data": row["data"],
                                                             "nominal": row["nominal"]})  # fmt: skip
        said = f" (stated {row['stated']:.2f})" if row["stated"] < row["nominal"] else ""
        mark = "*" if row["short"] else ""
        line[f"n = {row['n']}"] = (
            "refused" if np.isnan(row["attained"]) else f"{row['attained']:.3f} ± {row['error']:.3f}{mark}{said}"
        )
    return pd.DataFrame(rows.values())


def run(config: CoverageConfig) -> int:
    """Print the tables, keep them if asked, and say by the exit code whether all hold.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    if config.out is not None:
        refuse_existing(config.out)
    table, tested = simulate(config), enumerate_equivalence()
    print(shown(table).to_markdown(index=False))
    largest = tested.loc[tested.groupby("margin")["declared"].idxmax()]
    print("\nEquivalence of 0 and 1 at the margin, enumerated: the largest share declared, over all n\n")
    print(largest.to_markdown(index=False, floatfmt=".4f"))
    if config.out is not None:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
        save_run(config.out, {"coverage": table, "equivalence": tested}, {"settings": settings})
    short, over = table[table["short"]], tested[tested["declared"] > tested["alpha"] + 1e-6]
    if len(short) + len(over):
        print(f"\n{len(short)} rows fall short by more than {TOLERANCE:g} standard errors, {len(over)} enumerated do\n")
        print(short.to_string(index=False))
    return int(len(short) + len(over) > 0)
