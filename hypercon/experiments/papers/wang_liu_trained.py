"""Wang & Liu 2021, "Understanding the Behaviour of Contrastive Loss": what trained encoders say.

"Clearly" means, everywhere in these rules: over the seeds, the mean of the paired differences exceeds twice its
standard error; with one seed, the difference itself decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Scene,
    claims_to,
    clearly_more,
    holds_if,
    judge_order,
    ordered_over,
)
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.neighbour_map import neighbour_map
from hypercon.experiments.papers.reading import each, listed, means, over_temperature, picked, spreads, uniformity

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "Wang & Liu 2021")

PLAIN, HARD = sweep.PLAIN, sweep.HARD
SPACED = (0.05, 0.1, 0.2, 0.5, 1.0, 5.0)  # neighbours in the sweep are too near each other to be told apart
FEW_ARE_PUSHED = "Below 0.1 only a few negatives of a batch are pushed at all, and embeddings spread less"
IN_A_RANGE = "in a range if at two steps in a row or more"
ACCURACY = "kNN accuracy on z, 10 labels a class"


def _spaced(recipes: Mapping[float, Any] = PLAIN, keys: tuple[float, ...] = SPACED) -> list[Any]:
    return [recipes[key] for key in keys]


def _above_both_ends(leaves: Mapping[str, Any], ends: tuple[str, ...]) -> bool:
    return all(clearly_more(leaves[middle], leaves[end]) for middle in ("0.1", "0.2") for end in ends)


# --- accuracy over the temperature


def _judge_u(v: dict[str, Any]) -> str:
    if not _above_both_ends(v["knn_z"], ("0.005", "1", "5")):
        return RANGE if _above_both_ends(v["knn_z"], ("1", "5")) else REFUTED
    return HOLDS if _above_both_ends(v["linear_h"], ("0.005", "1", "5")) else RANGE


def _why_not_u(v: dict[str, Any]) -> str:
    knn, probe = v["knn_z"], v["linear_h"]
    if not _above_both_ends(knn, ("0.005", "1", "5")):
        return (
            f"nearest neighbours on z give {knn['0.2']['mean']:.3f} at 0.2, {knn['0.005']['mean']:.3f} at 0.005 and "
            f"{knn['5']['mean']:.3f} at 5: only the side of large temperatures stands out of the spread"
        )
    return (
        f"nearest neighbours on z show it ({knn['0.005']['mean']:.3f}, {knn['0.2']['mean']:.3f}, "
        f"{knn['5']['mean']:.3f} at 0.005, 0.2 and 5); the paper's probe on h hardly ({probe['0.005']['mean']:.3f}, "
        f"{probe['0.2']['mean']:.3f}, {probe['5']['mean']:.3f}): on images this easy every h is nearly as good"
    )


@claim(
    "wl-fig9",
    "figure 9",
    "Accuracy over the temperature is a reversed U: best in between, worse at both ends.",
    rule="0.1 and 0.2 are clearly above 0.005, 1 and 5, by nearest neighbours on z and by the paper's linear probe on "
    "h; in a range if by the first alone, or above 1 and 5 alone",
    judge=_judge_u,
    recipes=[*PLAIN.values(), *HARD.values()],
    labels=True,
    reported="CIFAR10, linear probe: 79.75, 83.27, 82.69, 82.21 % at 0.07, 0.3, 0.7, 1",
    why=_why_not_u,
)
def _(encoders: Encoders) -> Measured:
    knn, probe = each(encoders, PLAIN, "knn_z"), each(encoders, PLAIN, "linear_h")
    hard = each(encoders, HARD, "knn_z")
    pictures = (
        over_temperature(ACCURACY, plain=knn, hard=hard),
        over_temperature("linear probe on h, 10 labels a class", plain=probe, hard=each(encoders, HARD, "linear_h")),
    )
    return Measured({"knn_z": knn, "linear_h": probe, "linear_z": each(encoders, PLAIN, "linear_z")}, pictures)


@claim(
    "wl-fig9-hard",
    "figure 9",
    "With hard negatives accuracy stays good at large temperatures.",
    rule="at 1 the hard loss is clearly above the plain one, and not clearly below itself at 0.2",
    judge=holds_if(
        lambda v: clearly_more(v["hard"]["1"], v["plain"]["1"]) and not clearly_more(v["hard"]["0.2"], v["hard"]["1"])
    ),
    recipes=[*HARD.values(), *_spaced(keys=(0.07, 0.2, 0.3, 0.7, 1.0))],
    labels=True,
    reported="CIFAR10: 84.19 % at 1 with hard negatives, 82.21 % without",
    why=lambda v: f"at 1: {v['hard']['1']['mean']:.3f} with hard negatives, {v['plain']['1']['mean']:.3f} without",
)
def _(encoders: Encoders) -> Measured:
    hard, plain = each(encoders, HARD, "knn_z"), each(encoders, {tau: PLAIN[tau] for tau in HARD}, "knn_z")
    return Measured({"hard": hard, "plain": plain}, over_temperature(ACCURACY, plain=plain, hard=hard))


@claim(
    "wl-extreme",
    "section 4.3",
    "Extremely small temperatures look at one or two samples and heavily degenerate the performance.",
    rule="0.005 is clearly more than 5 points below 0.2; in a range if clearly below, by less",
    judge=lambda v: (
        HOLDS
        if clearly_more(v["knn_z"]["0.2"], v["knn_z"]["0.005"], 0.05)
        else RANGE
        if clearly_more(v["knn_z"]["0.2"], v["knn_z"]["0.005"])
        else REFUTED
    ),
    recipes=_spaced(keys=(0.005, 0.02, 0.05, 0.2)),
    labels=True,
    why=lambda v: (
        f"it costs {100 * (v['knn_z']['0.2']['mean'] - v['knn_z']['0.005']['mean']):.1f} points here, perhaps "
        f"because no negative among the 255 of a batch is as near as among the paper's thousands"
    ),
)
def _(encoders: Encoders) -> Measured:
    knn = each(encoders, {tau: PLAIN[tau] for tau in (0.005, 0.02, 0.05, 0.2)}, "knn_z")
    return Measured({"knn_z": knn}, over_temperature(ACCURACY, plain=knn))


@claim(
    "wl-simple",
    "section 5.5",
    "The simple loss, without hardness, is far worse than the contrastive loss; with the nearest negatives alone it is "
    "competitive.",
    rule="the simple loss is clearly below InfoNCE at 0.2 and at 1, and with the nearest tenth of the negatives it is "
    "clearly above itself and not clearly more than a point below InfoNCE at 0.2",
    judge=holds_if(
        lambda v: (
            clearly_more(v["knn_z"]["0.2"], v["knn_z"]["simple"])
            and clearly_more(v["knn_z"]["1"], v["knn_z"]["simple"])
            and clearly_more(v["knn_z"]["hard simple"], v["knn_z"]["simple"])
            and not clearly_more(v["knn_z"]["0.2"], v["knn_z"]["hard simple"], 0.01)
        )
    ),
    recipes=[sweep.SIMPLE, sweep.HARD_SIMPLE, PLAIN[0.2], PLAIN[1.0], PLAIN[5.0]],
    labels=True,
    reported="CIFAR10: 74.83 % simple, 84.84 % with hard negatives, 83.27 % InfoNCE at 0.3",
    why=lambda v: f"simple {v['knn_z']['simple']['mean']:.3f}, hard simple {v['knn_z']['hard simple']['mean']:.3f}",
)
def _(encoders: Encoders) -> Measured:
    recipes = {
        **{f"{tau:g}": PLAIN[tau] for tau in (0.2, 1.0, 5.0)},
        "simple": sweep.SIMPLE,
        "hard simple": sweep.HARD_SIMPLE,
    }
    knn, spread = each(encoders, recipes, "knn_z"), each(encoders, recipes, uniformity)
    bars = Panel("", ACCURACY, {"": (list(knn), means(knn))}, spreads={"": spreads(knn)}, dots=True)
    return Measured({"knn_z": knn, "uniformity": spread}, bars)


@claim(
    "wl-eq6-trained",
    "section 4.2",
    "Trained with the limit of temperature 0, eq. 6, the model cannot learn any useful information.",
    rule="trained with it, accuracy is not clearly above that of the untrained network; in a range if it is, but "
    "clearly below InfoNCE at 0.2",
    judge=lambda v: (
        HOLDS
        if not clearly_more(v["knn_z"]["eq. 6"], v["knn_z"]["untrained"])
        else RANGE
        if clearly_more(v["knn_z"]["0.2"], v["knn_z"]["eq. 6"])
        else REFUTED
    ),
    recipes=[sweep.TRIPLET, sweep.UNTRAINED, PLAIN[0.2]],
    labels=True,
    why=lambda v: (
        f"{v['knn_z']['eq. 6']['mean']:.3f} with eq. 6, {v['knn_z']['untrained']['mean']:.3f} untrained, "
        f"{v['knn_z']['0.2']['mean']:.3f} at 0.2: with centred embeddings and 256 candidates the nearest negative "
        f"alone still teaches something"
    ),
)
def _(encoders: Encoders) -> Measured:
    knn = each(encoders, {"untrained": sweep.UNTRAINED, "eq. 6": sweep.TRIPLET, "0.2": PLAIN[0.2]}, "knn_z")
    bars = Panel("", ACCURACY, {"": (list(knn), means(knn))}, spreads={"": spreads(knn)}, dots=True)
    return Measured({"knn_z": knn}, bars)


# --- uniformity and tolerance over the temperature


def _why_order(name: str, reason: str) -> Callable[[dict[str, Any]], str]:
    def why(v: dict[str, Any]) -> str:
        span = f"from {v['range'][0]} to {v['range'][1]}" if v["range"] else "at no step"
        return f"{span}, of {listed(v[name])}. {reason}"

    return why


@claim(
    "wl-fig4",
    "figure 4",
    "Uniformity falls as the temperature rises.",
    rule=f"at t = 2 it falls clearly at every step over 0.05, 0.1, 0.2, 0.5, 1 and 5; {IN_A_RANGE}",
    judge=judge_order("uniformity"),
    recipes=PLAIN.values(),
    reported="CIFAR10: 3.86, 3.60, 3.17, 2.96 at 0.07, 0.3, 0.7, 1",
    why=_why_order("uniformity", FEW_ARE_PUSHED),
)
def _(encoders: Encoders) -> Measured:
    leaves = each(encoders, PLAIN, uniformity)
    some = picked(leaves, SPACED)
    values = {"uniformity": some, "range": ordered_over(some, rises=False), "sweep": leaves}
    return Measured(values, over_temperature("uniformity, t = 2", plain=leaves))


@claim(
    "wl-fig5",
    "figure 5",
    "Tolerance rises with the temperature.",
    rule=f"the mean similarity within classes rises clearly at every step over 0.05, 0.1, 0.2, 0.5 and 1; {IN_A_RANGE}",
    judge=judge_order("tolerance"),
    recipes=PLAIN.values(),
    labels=True,
    reported="CIFAR10: 0.04, 0.178, 0.333, 0.372 at 0.07, 0.3, 0.7, 1",
    why=_why_order("tolerance", FEW_ARE_PUSHED),
)
def _(encoders: Encoders) -> Measured:
    leaves, gap = each(encoders, PLAIN, "tolerance"), each(encoders, PLAIN, "gap")
    some = picked(leaves, SPACED[:-1])
    values = {"tolerance": some, "range": ordered_over(some, rises=True), "sweep": leaves, "gap": gap}
    return Measured(values, over_temperature("similarity", tolerance=leaves, tolerance_gap=gap))


def _compared(encoders: Encoders, read: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    plain, hard = each(encoders, {tau: PLAIN[tau] for tau in HARD}, read), each(encoders, HARD, read)
    spans = {
        name: abs(leaves["0.07"]["mean"] - leaves["1"]["mean"]) for name, leaves in (("plain", plain), ("hard", hard))
    }
    return plain, hard, spans


@claim(
    "wl-fig6",
    "figure 6",
    "With hard negatives uniformity is higher, and nearly flat in the temperature.",
    rule="clearly higher at 0.3, 0.7 and 1, and from 0.07 to 1 it changes by less than half as much",
    judge=holds_if(
        lambda v: (
            all(clearly_more(v["hard"][tau], v["plain"][tau]) for tau in ("0.3", "0.7", "1"))
            and v["change"]["hard"] < v["change"]["plain"] / 2
        )
    ),
    recipes=[*HARD.values(), *(PLAIN[tau] for tau in HARD)],
    reported="CIFAR10: 3.88, 3.89, 3.87, 3.86 hard, 3.86, 3.60, 3.17, 2.96 plain, at 0.07, 0.3, 0.7, 1",
    why=lambda v: f"change from 0.07 to 1: {v['change']['hard']:.2f} hard, {v['change']['plain']:.2f} plain",
)
def _(encoders: Encoders) -> Measured:
    plain, hard, change = _compared(encoders, uniformity)
    picture = over_temperature("uniformity, t = 2", plain=plain, hard=hard)
    return Measured({"plain": plain, "hard": hard, "change": change}, picture)


@claim(
    "wl-fig7",
    "figure 7",
    "With hard negatives tolerance is lower.",
    rule="clearly lower at 0.3, 0.7 and 1; in a range if at some of them",
    judge=lambda v: HOLDS if v["lower_at"] == ["0.3", "0.7", "1"] else RANGE if v["lower_at"] else REFUTED,
    recipes=[*HARD.values(), *(PLAIN[tau] for tau in HARD)],
    labels=True,
    reported="CIFAR10: 0.0267, 0.030, 0.030 hard, 0.178, 0.333, 0.372 plain, at 0.3, 0.7, 1",
    why=lambda v: f"lower at {', '.join(v['lower_at']) or 'none of them'}",
)
def _(encoders: Encoders) -> Measured:
    plain, hard, change = _compared(encoders, "tolerance")
    lower = [tau for tau in ("0.3", "0.7", "1") if clearly_more(plain[tau], hard[tau])]
    picture = over_temperature("tolerance", plain=plain, hard=hard)
    return Measured({"plain": plain, "hard": hard, "change": change, "lower_at": lower}, picture)


# --- what the push makes of similarities


@claim(
    "wl-fig8-positives",
    "figure 8, second observation",
    "The larger the temperature, the nearer positives come to each other.",
    rule=f"their mean similarity rises clearly at every step over 0.1, 0.2, 0.5, 1 and 5; {IN_A_RANGE}",
    judge=judge_order("positive"),
    recipes=PLAIN.values(),
    why=_why_order("positive", "Beyond, there is little left to align"),
)
def _(encoders: Encoders) -> Measured:
    leaves = each(encoders, PLAIN, "positive")
    some = picked(leaves, SPACED[1:])
    values = {"positive": some, "range": ordered_over(some, rises=True), "sweep": leaves}
    return Measured(values, over_temperature("similarity of positives", plain=leaves))


SHOWN = (0.07, 0.2, 0.5, 1.0)


@claim(
    "wl-fig8-gap",
    "figure 8, first observation",
    "The smaller the temperature, the larger the gap between the positive and its nearest negatives.",
    rule="positive less the mean of the ten nearest falls clearly from 0.07 to 0.2, 0.5 and 1; in a range if from "
    "0.07 to 1 alone",
    judge=lambda v: (
        HOLDS
        if ordered_over(v["gap"], rises=False) == ["0.07", "1"]
        else RANGE
        if clearly_more(v["gap"]["0.07"], v["gap"]["1"])
        else REFUTED
    ),
    recipes=_spaced(keys=SHOWN),
    why=lambda v: (
        f"the gap is {v['gap']['0.07']['mean']:.3f} at 0.07, {v['gap']['0.2']['mean']:.3f} at 0.2 and "
        f"{v['gap']['1']['mean']:.3f} at 1: at a small temperature the positive, too, is less aligned"
    ),
)
def _(encoders: Encoders) -> Measured:
    recipes = {tau: PLAIN[tau] for tau in SHOWN}
    gap = each(encoders, recipes, lambda m: m["positive"] - float(np.mean(m["nearest"])))
    curves, bars = {}, {}
    for tau, recipe in recipes.items():
        rows = np.array([[m["positive"], *m["nearest"]] for m in encoders.measured(recipe)])
        name = f"temperature {tau:g}"
        curves[name] = ["positive", *map(str, range(1, 11))], rows.mean(axis=0)
        bars[name] = rows.std(axis=0)
    return Measured({"gap": gap}, Panel("positive, then the nearest negatives", "similarity", curves, spreads=bars))


@claim(
    "wl-entropy-trained",
    "section 3.2",
    "A smaller temperature concentrates the push of the trained model, too: the entropy of its weights is lower.",
    rule="the entropy over log K, at each encoder's own temperature, rises clearly at every step over 0.05, 0.1, 0.2, "
    f"0.5, 1 and 5; {IN_A_RANGE}",
    judge=judge_order("entropy"),
    recipes=PLAIN.values(),
    why=_why_order("entropy", "The encoder changes with the temperature, and its negatives with it"),
)
def _(encoders: Encoders) -> Measured:
    leaves = each(encoders, PLAIN, "entropy")
    some = picked(leaves, SPACED)
    values = {"entropy": some, "range": ordered_over(some, rises=True), "sweep": leaves}
    return Measured(values, over_temperature("entropy over log K", plain=leaves))


@claim(
    "wl-fig2",
    "figure 2",
    "Embeddings trained at 0.07 are spread evenly; at 0.2 they are locally clustered and globally separated.",
    rule="at 0.07 uniformity at t = 7.1, which it trains, is clearly higher; at 0.2 the tolerance gap and the margin "
    "of class means are clearly larger; in a range if not all three",
    judge=lambda v: HOLDS if sum(v["stands"].values()) == 3 else RANGE if sum(v["stands"].values()) else REFUTED,
    recipes=_spaced(keys=(0.07, 0.2)),
    labels=True,
    why=lambda v: "of the three, what stands: " + (", ".join(n for n, true in v["stands"].items() if true) or "none"),
)
def _(encoders: Encoders) -> Measured:
    both = {tau: PLAIN[tau] for tau in (0.07, 0.2)}
    fine = each(encoders, both, lambda m: uniformity(m, 7.1))
    gap, margin = each(encoders, both, "gap"), each(encoders, both, "margin")
    stands = {
        "uniformity": clearly_more(fine["0.07"], fine["0.2"]),
        "tolerance gap": clearly_more(gap["0.2"], gap["0.07"]),
        "margin": clearly_more(margin["0.2"], margin["0.07"]),
    }
    scenes = tuple(
        Scene(
            f"temperature {tau:g}",
            neighbour_map(encoders.encoder(recipe, encoders.seeds[0]).embed(encoders.test.images[:300])[1]),
            None if encoders.test.labels is None else encoders.test.labels[:300],
        )
        for tau, recipe in both.items()
    )
    return Measured({"uniformity_7": fine, "gap": gap, "margin": margin, "stands": stands}, scenes)
