"""Tables of earlier studies, with today's names of the ways to steer."""

from __future__ import annotations

import pandas as pd

from odesteer_tl._renamed import current_way

#: columns that hold such names, alone or with a layer and strength behind them
COLUMNS = ("label", "method", "arm", "candidate", "first", "second", "against")
#: a name that only tables have whose every field was followed along great circles, → what others were called there
ON_SPHERE = {
    "kernel flow": {"CAA": "caa, geodesic"},
    "geodesic": {"CAA": "caa, geodesic", "Euler": "odesteer_kernel, ten Euler steps", "geodesic": "odesteer_kernel"},
}


def current_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The table with former names replaced in the columns that hold names of ways to steer."""
    own = [name for name in COLUMNS if name in table]
    names = {name for column in own for name in table[column].unique() if isinstance(name, str)}
    there = {former: now for mark, known in ON_SPHERE.items() if mark in names for former, now in known.items()}
    changed = {name: now for name in names if (now := there.get(name, current_way(name))) != name}
    return table.replace(dict.fromkeys(own, changed)) if changed else table
