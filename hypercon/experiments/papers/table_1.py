"""Table 1 of Wang & Liu 2021, row by row: which of its orderings small encoders show."""

from __future__ import annotations

from typing import Any

from hypercon.experiments.papers import sweep
from hypercon.experiments.papers.claim import (
    HOLDS,
    RANGE,
    REFUTED,
    Claim,
    Measured,
    Panel,
    claims_to,
    clearly_more,
)
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.reading import each, means, spreads, uniformity

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "Wang & Liu 2021")

COLUMNS = ("C .07", "C .3", "C .7", "C 1", "simple", "H .07", "H .3", "H .7", "H 1", "hard simple")
TABLE_1 = {  # CIFAR10, whose ten classes are as many as here
    "accuracy": (79.75, 83.27, 82.69, 82.21, 74.83, 79.2, 83.63, 84.19, 84.19, 84.84),
    "uniformity": (3.86, 3.60, 3.17, 2.96, 1.68, 3.88, 3.89, 3.87, 3.86, 3.85),
    "tolerance": (0.04, 0.178, 0.333, 0.372, 0.61, 0.034, 0.0267, 0.030, 0.030, 0.030),
}
ORDERINGS = (
    *((i, i + 1) for i in range(4)),  # along the plain losses
    *((i, i + 1) for i in range(5, 9)),  # along the hard ones
    (1, 6),  # hard against plain at 0.3
    (3, 8),  # and at 1
)
RECIPES = dict(
    zip(
        COLUMNS,
        [
            *(sweep.PLAIN[tau] for tau in (0.07, 0.3, 0.7, 1.0)),
            sweep.SIMPLE,
            *(sweep.HARD[tau] for tau in (0.07, 0.3, 0.7, 1.0)),
            sweep.HARD_SIMPLE,
        ],
        strict=True,
    )
)


def _row(row: str, read: Any) -> None:
    """The ten orderings of a row of table 1, as a claim."""

    @claim(
        f"wl-table1-{row}-row",
        f"table 1, {row}",
        f"The ten orderings of the row of {row} of CIFAR10: along the plain and the hard losses, and between them.",
        rule="all that are not ties in the table are clear here, in its direction; in a range if more than half are",
        judge=lambda v: (
            HOLDS if len(v["stands"]) == v["orderings"] else RANGE if len(v["stands"]) > v["orderings"] / 2 else REFUTED
        ),
        recipes=RECIPES.values(),
        labels=row != "uniformity",
        reported=", ".join(f"{name} {value:g}" for name, value in zip(COLUMNS, TABLE_1[row], strict=True)),
        why=lambda v: (
            f"{len(v['stands'])} of {v['orderings']} stand; reversed: {', '.join(v['reversed']) or 'none'}; not clear: "
            f"{', '.join(v['not_clear']) or 'none'}"
        ),
    )
    def _(encoders: Encoders) -> Measured:
        leaves = each(encoders, RECIPES, read)
        stands, reversed_, unclear = list[str](), list[str](), list[str]()
        for i, j in ORDERINGS:
            paper = TABLE_1[row][j] - TABLE_1[row][i]
            if not paper:
                continue
            low, high = (i, j) if paper > 0 else (j, i)
            name, a, b = f"{COLUMNS[low]} < {COLUMNS[high]}", leaves[COLUMNS[low]], leaves[COLUMNS[high]]
            (stands if clearly_more(b, a) else reversed_ if clearly_more(a, b) else unclear).append(name)
        values = {
            row: leaves,
            "orderings": len(stands) + len(reversed_) + len(unclear),
            "stands": stands,
            "reversed": reversed_,
            "not_clear": unclear,
        }
        panels = (
            Panel("", f"{row}, here", {"": (COLUMNS, means(leaves))}, spreads={"": spreads(leaves)}, dots=True),
            Panel("", f"{row}, CIFAR10 in the paper", {"": (COLUMNS, TABLE_1[row])}, dots=True),
        )
        return Measured(values, panels)


for _name, _read in (("accuracy", "knn_z"), ("uniformity", uniformity), ("tolerance", "tolerance")):
    _row(_name, _read)
