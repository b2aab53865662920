"""Whether a sweep is precise enough, and whether the machine drifted meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from yogurtbench.analysis.comparison import MARGIN
from yogurtbench.analysis.rounding import effect_with_rounding, widen_by_rounding
from yogurtbench.analysis.statistics import Effect, Floats, hodges_lehmann, ratio_of
from yogurtbench.analysis.values import BlockValues, Series, tuples_of
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.results.frame import ROUNDING


def precision_reached(frame: pd.DataFrame, precision: float, baseline: str | None = None) -> bool:
    """Return whether half of each cell's interval is at most ``precision``.

    ``frame`` holds one group's rows, ``baseline`` is the id of its main baseline (the group's name;
    the first baseline seen where not given), ``precision`` a share (0.01: ±1 %). Only the deciding
    metric of each load counts; cells without a value (dead, failed, nothing to compare with) do not
    hold the others up. What rounding adds is left out, since no number of blocks takes it away.
    Never looks at whether there is a difference.
    """
    values = BlockValues(frame)
    bases = [cell for cell, role in values.metrics if role == "baseline"]
    main = baseline or (bases[0] if bases else "")
    loads = dict(tuples_of(frame.drop_duplicates("cell"), "cell", "load"))
    pairs = [(c, r, HEADLINE[loads[c]]) for c, r in values.metrics if r in ("cell", "canary")]
    widths = [
        _width(values.of(*pair), values.of(main, "baseline", pair[2]), frame) for pair in pairs
    ]
    return all(width is None or width <= precision for width in widths)


def _width(cell: Series, base: Series, frame: pd.DataFrame) -> float | None:
    logs = _unrounded_logs(cell, base)
    if not len(logs):
        return None
    if (frame["clock"] == "instructions").any():
        return 0.0
    width = hodges_lehmann(logs).half_width
    return math.inf if math.isnan(width) else width


def _unrounded_logs(cell: Series, base: Series) -> Floats:
    pairs = [(cell[b], base[b]) for b in sorted(cell.keys() & base.keys())]
    return np.array([math.log(x) - math.log(y) for x, y in pairs if x > 0 and y > 0])


def drift(frame: pd.DataFrame, margins: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the ratio of a block's last baseline to its first, rounding allowed for.

    Columns cell, metric, n, ratio, ratio_low, ratio_high, verdict (``drift``: beyond the margin;
    ``steady``: within it; ``inconclusive``).
    """
    rows = frame[(frame["role"] == "baseline") & (frame["status"] == "ok") & frame["value"].notna()]
    headline = rows[rows["metric"] == rows["load"].map(HEADLINE)].sort_values("position")
    found = [
        _drift(str(cell), mine, margins or {})
        for cell, mine in headline.groupby("cell", sort=False)
    ]
    columns = ["cell", "metric", "n", "ratio", "ratio_low", "ratio_high", "verdict"]
    return pd.DataFrame([row for row in found if row], columns=columns)


def _drift(cell: str, rows: pd.DataFrame, margins: Mapping[str, float]) -> dict[str, Any] | None:
    metric, clock = str(rows["metric"].iloc[0]), str(rows["clock"].iloc[0])
    rows = rows if ROUNDING in rows else rows.assign(**{ROUNDING: 0.0})
    blocks = rows.groupby("block")[["value", ROUNDING]].agg(["first", "last", "size"])
    value, moved = blocks["value"], blocks[ROUNDING]
    whole = (value["size"] > 1) & (value["first"] > 0) & (value["last"] > 0)
    if not whole.any():
        return None
    last, first = (value.loc[whole, which].to_numpy(dtype=float) for which in ("last", "first"))
    logs = widen_by_rounding(
        last, first, *(moved.loc[whole, which].to_numpy(dtype=float) for which in ("last", "first"))
    )
    effect = effect_with_rounding(logs)
    margin = math.log1p(margins.get(metric, MARGIN[clock]))
    return {"cell": cell, "metric": metric, "n": effect.n, "ratio": ratio_of(effect.estimate),
            "ratio_low": ratio_of(effect.low), "ratio_high": ratio_of(effect.high),
            "verdict": _drift_verdict(effect, margin)}  # fmt: skip


def _drift_verdict(effect: Effect, margin: float) -> Literal["drift", "steady", "inconclusive"]:
    if effect.low > margin or effect.high < -margin:
        return "drift"
    return "steady" if -margin <= effect.low and effect.high <= margin else "inconclusive"
