"""The paper's orderings held against measured values: each holds, does not hold, or is not decided."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "not decided"
ROUNDING = 1e-4  # embeddings are float32, and t multiplies their rounding: values nearer than this are a tie


def judge(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hold the paper's orderings against the measured values.

    Parameters
    ----------
    records : sequence of dict
        The ``runs`` of results.json. One temperature alone makes no ordering, and no claim.

    Returns
    -------
    list of dict
        ``claim``, the ``values`` by temperature, and the ``verdict``: ``"holds"``, ``"does not hold"``, or ``"not
        decided"`` where values that should differ lie within 1e-4, which is rounding. Claims that need labels are left
        out without them.
    """
    records = sorted(records, key=lambda record: record["temperature"])
    if len(records) < 2:
        return []
    sharpest = f"{1 / (2 * records[0]['temperature']):.3g}"
    checks: list[tuple[str, Callable[[dict[str, Any]], Any], Callable[[list[float]], list[float]]]] = [
        (f"uniformity at t = {sharpest} falls as the temperature rises", lambda r: r["uniformity"][sharpest], _falls),
        ("uniformity at t = 2 is lowest at the highest temperature", lambda r: r["uniformity"]["2"], _last_is_lowest),
        ("the tolerance gap rises with the temperature", lambda r: r["tolerance_gap"], _rises),
        ("tolerance is highest at the highest temperature", lambda r: r["tolerance"], _last_is_highest),
    ]
    claims = []
    for claim, read, margins in checks:
        values = {f"{record['temperature']:g}": read(record) for record in records}
        if None not in values.values():
            claims.append({"claim": claim, "values": values, "verdict": _verdict(margins(list(values.values())))})
    return claims


def _verdict(margins: list[float]) -> str:
    """Of an ordering whose margins must all be positive."""
    if min(margins) < -ROUNDING:
        return FAILS
    return HOLDS if min(margins) > ROUNDING else UNDECIDED


def _rises(values: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(values)]


def _falls(values: list[float]) -> list[float]:
    return [a - b for a, b in itertools.pairwise(values)]


def _last_is_highest(values: list[float]) -> list[float]:
    return [values[-1] - value for value in values[:-1]]


def _last_is_lowest(values: list[float]) -> list[float]:
    return [value - values[-1] for value in values[:-1]]
