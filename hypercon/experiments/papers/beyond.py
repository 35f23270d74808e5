"""Past the two papers: what a fixed norm does, what spread preserves, at which scale a temperature works, and whether
anything leaves the dilemma."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

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
    holds_if,
    judge_order,
    ordered_over,
    over_seeds,
    rank_correlation,
)
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.making import SHARPNESSES
from hypercon.experiments.papers.reading import each, listed, means, over_temperature, picked, spreads, uniformity
from hypercon.experiments.papers.recipe import MOVING, Recipe

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "")

PLAIN = sweep.PLAIN


# --- what both papers say of the sphere in passing


@claim(
    "norm-steadies",
    "Wang & Isola 2020, section 1",
    "A fixed norm makes training steadier.",
    rule="of six learning rates of SGD, 0.0001 to 10, the network with normalisation diverges at fewer, and where both "
    "train, the logs of its gradient's length spread clearly less; in a range if one of the two",
    judge=lambda v: (
        HOLDS
        if v["diverges_less"] and v["spreads_less"]
        else RANGE
        if v["diverges_less"] or v["spreads_less"]
        else REFUTED
    ),
    recipes=[recipe for some in sweep.RATES.values() for recipe in some.values()],
    why=lambda v: (
        f"diverged, of all rates and seeds: {v['diverged']['plain']} with and {v['diverged']['free']} without "
        f"normalisation; the spread of the log of the gradient's length, where both train: "
        f"{v['log_spread']['plain']['mean']:.2f} and {v['log_spread']['free']['mean']:.2f}"
    ),
)
def _(encoders: Encoders) -> Measured:
    found = {
        head: {rate: encoders.measured(recipe) for rate, recipe in recipes.items()}
        for head, recipes in sweep.RATES.items()
    }
    both = [
        [r for r in sweep.RATES["plain"] if not any(found[h][r][i]["diverged"] for h in found)]
        for i in range(len(encoders.seeds))
    ]
    log_spread = {
        head: over_seeds(
            [
                float(np.mean([np.log10(found[head][r][i]["gradients"]).std() for r in both[i]])) if both[i] else 0.0
                for i in range(len(encoders.seeds))
            ]
        )
        for head in found
    }
    diverged = {head: sum(m["diverged"] for ms in rates.values() for m in ms) for head, rates in found.items()}
    names = {"plain": "on the sphere", "free": "free norm"}
    # the curve ends where a training diverged: there is no loss to show
    finals = {
        names[head]: [
            (rate, float(np.mean([np.mean(m["losses"][-10:]) for m in ms])))
            for rate, ms in rates.items()
            if not any(m["diverged"] for m in ms)
        ]
        for head, rates in found.items()
    }
    lengths = {
        names[head]: (range(1, len(found[head][0.01][0]["gradients"]) + 1), found[head][0.01][0]["gradients"])
        for head in found
    }
    values = {
        "diverged": diverged,
        "log_spread": log_spread,
        "diverges_less": diverged["plain"] < diverged["free"],
        "spreads_less": clearly_more(log_spread["free"], log_spread["plain"]),
    }
    panels = (
        Panel("step", "length of the gradient, rate 0.01", lengths, log_y=True),
        Panel(
            "learning rate",
            "loss at the end, where it is finite",
            {name: ([x for x, _ in rows], [y for _, y in rows]) for name, rows in finals.items()},
            log_x=True,
            log_y=True,
        ),
    )
    return Measured(values, panels)


@claim(
    "separable",
    "Wang & Isola 2020, section 1",
    "When the features of a class are well clustered, the class is linearly separable from the rest.",
    rule="over training, the tolerance gap and the mean margin of the classifier of class means both end clearly above "
    "where they began, and over the moments of training the gap ranks the accuracy of a linear probe with a "
    "correlation clearly above 0.5",
    judge=holds_if(
        lambda v: (
            clearly_more(v["margin"]["end"], v["margin"]["start"])
            and clearly_more(v["gap"]["end"], v["gap"]["start"])
            and clearly_more(v["correlation"], 0.5)
        )
    ),
    recipes=[sweep.ON_THE_WAY],
    labels=True,
    why=lambda v: (
        f"margin {v['margin']['start']['mean']:.2f} to {v['margin']['end']['mean']:.2f}, rank correlation "
        f"{v['correlation']['mean']:.2f}"
    ),
)
def _(encoders: Encoders) -> Measured:
    ways = [[*m["moments"], m] for m in encoders.measured(sweep.ON_THE_WAY)]

    def both_ends(name: str) -> dict[str, Any]:
        return {end: over_seeds([way[i][name] for way in ways]) for end, i in (("start", 0), ("end", -1))}

    values = {
        "margin": both_ends("margin"),
        "gap": both_ends("gap"),
        "linear_z": both_ends("linear_z"),
        "correlation": over_seeds(
            [rank_correlation([m["gap"] for m in way], [m["linear_z"] for m in way]) for way in ways]
        ),
    }
    shares = np.linspace(0, 1, len(ways[0]))
    rows = {
        name: np.array([[m[key] for m in way] for way in ways])
        for name, key in (("margin", "margin"), ("tolerance gap", "gap"), ("linear probe on z", "linear_z"))
    }
    curves = {name: (shares, row.mean(axis=0)) for name, row in rows.items()}
    bars = {name: row.std(axis=0) for name, row in rows.items()}
    return Measured(values, Panel("share of the training", "", curves, spreads=bars))


@claim(
    "uniformity-information",
    "Wang & Isola 2020, section 1",
    "Uniformity preserves information: the more uniform the embedding, the more it tells of the instance.",
    rule="over the sweep of the temperature, uniformity at t = 2 ranks the effective rank and the bound log N - L on "
    "the information of two views, each with a correlation clearly above 0.5; in a range if one of the two",
    judge=lambda v: HOLDS if all(v["stands"].values()) else RANGE if any(v["stands"].values()) else REFUTED,
    recipes=PLAIN.values(),
    why=lambda v: ", ".join(f"{name} {leaf['mean']:.2f}" for name, leaf in v["correlation"].items()),
)
def _(encoders: Encoders) -> Measured:
    found = [encoders.measured(recipe) for recipe in PLAIN.values()]
    seeds = range(len(encoders.seeds))
    even = [[uniformity(m[i]) for m in found] for i in seeds]
    correlation = {
        name: over_seeds([rank_correlation(even[i], [m[i][name] for m in found]) for i in seeds])
        for name in ("information", "effective_rank")
    }
    values: dict[str, Any] = {
        "correlation": correlation,
        "stands": {name: clearly_more(leaf, 0.5) for name, leaf in correlation.items()},
        "information": each(encoders, PLAIN, "information"),
        "effective_rank": each(encoders, PLAIN, "effective_rank"),
    }
    spread = each(encoders, PLAIN, uniformity)
    panels = tuple(
        Panel(
            "uniformity, t = 2",
            label,
            {"": (means(spread), means(values[name]))},
            spreads={"": spreads(values[name])},
            dots=True,
        )
        for name, label in (("information", "log N - L, nats"), ("effective_rank", "effective rank"))
    )
    return Measured(values, panels)


# --- at which scale a temperature works

PAIRS = tuple(itertools.pairwise((0.02, 0.07, 0.2, 0.5, 1.0, 2.5)))


def _crossing(finer: dict[str, Any], coarser: dict[str, Any]) -> float | None:
    """The sharpness above which the encoder of the smaller temperature is the more uniform one."""
    difference = np.subtract(finer["uniformity"][1:], coarser["uniformity"][1:])
    below = np.flatnonzero(difference <= 0)
    if not len(below):
        return SHARPNESSES[0]
    last = int(below[-1])
    if last == len(difference) - 1:
        return None
    share = difference[last] / (difference[last] - difference[last + 1])
    return float(np.exp(np.log(SHARPNESSES[last]) * (1 - share) + np.log(SHARPNESSES[last + 1]) * share))


def _where(crossing: float | None) -> str:
    if crossing is None:
        return "none up to 100"
    return f"at {crossing:.2g}" if crossing > SHARPNESSES[0] else "none from 0.1 on, the smaller is always ahead"


@claim(
    "spectrum",
    "the kernel of Wang & Isola 2020, section 4.3",
    "Each temperature makes embeddings uniform at its own scale: of two temperatures a < b, the encoder of a is the "
    "more uniform above a sharpness t between 1/(2b) and 1/(2a), and that of b below it.",
    rule="for all of the pairs 0.02-0.07, 0.07-0.2, 0.2-0.5, 0.5-1 and 1-2.5 the crossing, its median over seeds, lies "
    "within; in a range if for some",
    judge=lambda v: HOLDS if len(v["within"]) == len(PAIRS) else RANGE if v["within"] else REFUTED,
    recipes=[PLAIN[tau] for tau in (0.02, 0.07, 0.2, 0.5, 1.0, 2.5)],
    why=lambda v: (
        f"within for {', '.join(v['within']) or 'no pair'}; crossings: "
        + ", ".join(f"{pair} {_where(at)}" for pair, at in v["crossing"].items())
        + ". A larger temperature also gathers classes, which costs uniformity at every scale, and so is not the more "
        "uniform one even where its own kernel works"
    ),
)
def _(encoders: Encoders) -> Measured:
    crossing: dict[str, float | None] = {}
    expected, within = {}, []
    for a, b in PAIRS:
        found = [
            _crossing(fine, coarse)
            for fine, coarse in zip(encoders.measured(PLAIN[a]), encoders.measured(PLAIN[b]), strict=True)
        ]
        some = [at for at in found if at is not None]
        name = f"{a:g}-{b:g}"
        crossing[name] = float(np.median(some)) if len(some) > len(found) / 2 else None
        expected[name] = [1 / (2 * b), 1 / (2 * a)]
        at = crossing[name]
        if at is not None and expected[name][0] <= at <= expected[name][1]:
            within.append(name)
    taus = (0.07, 0.2, 0.5, 1.0)
    spectra = {
        f"temperature {tau:g}": np.mean([m["uniformity"][1:] for m in encoders.measured(PLAIN[tau])], axis=0)
        for tau in taus
    }
    best = np.max(list(spectra.values()), axis=0)
    panel = Panel(
        "sharpness t",
        "uniformity less the best of the four",
        {name: (SHARPNESSES, row - best) for name, row in spectra.items()},
        log_x=True,
    )
    return Measured({"crossing": crossing, "expected": expected, "within": within}, panel)


@claim(
    "false-negatives",
    "the dilemma of Wang & Liu 2021, section 4.1",
    "The smaller the temperature, the larger the share of the push that falls on negatives of the anchor's own class.",
    rule="at each encoder's own temperature the share falls clearly at every step over 0.05, 0.1, 0.2, 0.5, 1 and 5; "
    "in a range if at two steps in a row or more",
    judge=judge_order("share"),
    recipes=PLAIN.values(),
    labels=True,
    why=lambda v: f"{listed(v['share'])}; falls over {v['range']}",
)
def _(encoders: Encoders) -> Measured:
    share = each(encoders, PLAIN, "false_negatives")
    some = picked(share, (0.05, 0.1, 0.2, 0.5, 1, 5))
    labels = encoders.test.labels
    level = {} if labels is None else {"if all were pushed alike": float(np.mean(labels[:, None] == labels))}
    panel = over_temperature("share of the push on the own class", plain=share)
    return Measured(
        {"share": some, "range": ordered_over(some, rises=False), "sweep": share},
        Panel(panel.x, panel.y, panel.curves, level, log_x=True, spreads=panel.spreads),
    )


# --- does anything leave the dilemma?

FIXED = {tau: recipe for tau, recipe in PLAIN.items() if 0.05 <= tau <= 5}


Point = tuple[float, float]


def reach(at: Point, fixed: dict[float, Point]) -> float:
    """How much more uniform a point is than fixed temperatures that are as tolerant.

    Points are (tolerance gap, uniformity). What lies between neighbouring temperatures counts as reached; below the
    least tolerant one, the line from 0.3 to 0.1 is continued; beyond the most tolerant one, its uniformity is compared
    with.
    """
    gap, spread = at
    line = list(fixed.values())
    levels = [
        y0 + (y1 - y0) * (gap - x0) / (x1 - x0)
        for (x0, y0), (x1, y1) in itertools.pairwise(line)
        if min(x0, x1) <= gap <= max(x0, x1) and x0 != x1
    ]
    if not levels and gap < min(x for x, _ in line):
        (x0, y0), (x1, y1) = fixed[0.3], fixed[0.1]
        levels.append(y1 + (y1 - y0) / (x1 - x0) * (gap - x1))
    return spread - max(levels, default=max(line)[1])


_SENTENCES = {
    "hard": ("Wang & Liu 2021, section 3.4", "Pushing only the nearest negatives"),
    "macl": ("Huang et al. 2023", "A temperature that follows the alignment of positives (MACL)"),
    "cosine": ("Kukleva et al. 2023", "A temperature that swings between 0.07 and 0.5"),
    "learned": ("Radford et al. 2021", "A learned temperature"),
    "dcl": ("Yeh et al. 2022", "Dropping the positive from the denominator (DCL)"),
    "debiased": ("Chuang et al. 2020", "Correcting for negatives of the own class (debiased loss)"),
    "hcl": ("Robinson et al. 2021", "Correcting for them and weighting hard negatives (HCL)"),
}


def _escape(name: str, recipes: dict[str, Recipe]) -> None:
    """Whether a remedy leaves the dilemma, as a claim."""
    source, subject = _SENTENCES[name]

    @claim(
        f"escape-{name}",
        f"{source}, on the dilemma's plane",
        f"{subject} leaves the dilemma: embeddings are more uniform than at any fixed temperature that leaves classes "
        "as close together.",
        rule="on the plane of tolerance gap and uniformity at t = 2, it lies clearly more than 0.03 above the line of "
        "fixed temperatures from 0.05 to 5 (continued from 0.3 through 0.1 where it is less tolerant than all), at "
        "every setting; in a range if at one",
        judge=lambda v: (
            HOLDS
            if all(clearly_more(leaf, 0.03) for leaf in v["above"].values())
            else RANGE
            if any(clearly_more(leaf, 0.03) for leaf in v["above"].values())
            else REFUTED
        ),
        recipes=[*FIXED.values(), *recipes.values()],
        labels=True,
        why=lambda v: ", ".join(
            f"{label}: {leaf['mean']:+.3f} ± {leaf['spread']:.3f} beside fixed temperatures"
            for label, leaf in v["above"].items()
        ),
    )
    def _(encoders: Encoders) -> Measured:
        plane = {tau: encoders.measured(recipe) for tau, recipe in FIXED.items()}
        above, others = {}, {}
        for label, recipe in recipes.items():
            found = encoders.measured(recipe)
            above[label] = over_seeds(
                [
                    reach(
                        (m["gap"], uniformity(m)),
                        {tau: (ms[i]["gap"], uniformity(ms[i])) for tau, ms in plane.items()},
                    )
                    for i, m in enumerate(found)
                ]
            )
            others[label] = [m["gap"] for m in found], [uniformity(m) for m in found]
        values: dict[str, Any] = {
            "above": above,
            "knn_z": each(encoders, {"fixed at 0.2": PLAIN[0.2], **recipes}, "knn_z"),
        }
        if moving := {label: recipe for label, recipe in recipes.items() if recipe.loss in MOVING}:
            values["ended_at"] = each(encoders, moving, "temperature")
        line = [float(np.mean([m["gap"] for m in ms])) for ms in plane.values()]
        height = [float(np.mean([uniformity(m) for m in ms])) for ms in plane.values()]
        curves: dict[str, Any] = {"fixed temperatures, 0.05 to 5": (line, height)} | others
        return Measured(values, Panel("tolerance gap", "uniformity, t = 2", curves, dots=tuple(others)))


for _name, _recipes in sweep.ESCAPES.items():
    _escape(_name, _recipes)
