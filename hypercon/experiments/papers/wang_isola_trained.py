"""Wang & Isola 2020, "Alignment and Uniformity on the Hypersphere": what trained encoders say."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.experiments.papers import sweep
from hypercon.experiments.papers.claim import (
    HOLDS,
    RANGE,
    REFUTED,
    Claim,
    Cloud,
    Measured,
    Panel,
    Scene,
    claims_to,
    clearly_more,
    holds_if,
    over_seeds,
    rank_correlation,
)
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.reading import each, listed, means, over, points, spreads, uniformity
from hypercon.metrics import uniformity_floor

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "Wang & Isola 2020")
claim_of_others = claims_to(CLAIMS, "")  # what their measures show of later papers' claims

ACCURACY = "kNN accuracy on z, 10 labels a class"


def _uniformity_loss(measured: dict[str, Any]) -> float:
    return -uniformity(measured)


def _potential(measured: dict[str, Any]) -> float:
    return float(np.exp(-uniformity(measured)))


def _angles(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The density of directions on the circle, by a von Mises kernel."""
    at = np.linspace(-np.pi, np.pi, 181)
    kernel = np.exp(20 * (np.cos(at[:, None] - np.arctan2(z[:, 1], z[:, 0])) - 1)).mean(axis=1)
    return at, kernel / (kernel.mean() * 2 * np.pi)


# --- on the circle


@claim(
    "wi-fig3",
    "figure 3",
    "On the circle a contrastive encoder spreads features most evenly and keeps positives closest; its features tell "
    "classes apart better than random ones and less well than supervised ones.",
    rule="the uniformity loss of the contrastive encoder is clearly the lowest of the three, its positives are clearly "
    "closer than those of the random encoder in proportion to the spread of all pairs, and accuracies are clearly in "
    "that order; in a range if uniformity and one of the others",
    judge=lambda v: (
        HOLDS
        if all(v["stands"].values())
        else RANGE
        if v["stands"]["most uniform"] and sum(v["stands"].values()) > 1
        else REFUTED
    ),
    recipes=sweep.CIRCLE.values(),
    labels=True,
    reported="linear accuracy on CIFAR10: random 12.71 %",
    why=lambda v: (
        "what stands: "
        + (", ".join(name for name, true in v["stands"].items() if true) or "nothing")
        + f"; uniformity losses: {listed(v['uniformity_loss'])}. Ten classes, evenly spaced on the circle by the "
        "classifier, are nearly uniform at t = 2"
    ),
)
def _(encoders: Encoders) -> Measured:
    loss = each(encoders, sweep.CIRCLE, _uniformity_loss)
    apart = each(encoders, sweep.CIRCLE, lambda m: m["alignment"] / max(1e-9, uniformity(m)))
    accuracy = each(encoders, sweep.CIRCLE, "knn_z")
    stands = {
        "most uniform": all(clearly_more(loss[other], loss["contrastive"]) for other in ("random", "supervised")),
        "positives closest": clearly_more(apart["random"], apart["contrastive"]),
        "accuracies": clearly_more(accuracy["contrastive"], accuracy["random"])
        and clearly_more(accuracy["supervised"], accuracy["contrastive"]),
    }
    some, labels = slice(0, 500), encoders.test.labels
    features = {
        name: encoders.encoder(recipe, encoders.seeds[0]).embed(encoders.test.images[some])[1]
        for name, recipe in sweep.CIRCLE.items()
    }
    rng = np.random.default_rng(0)  # of the picture alone: points of one direction would hide each other
    scenes = tuple(
        Scene(name, z * rng.uniform(0.9, 1.1, (len(z), 1)), None if labels is None else labels[some])
        for name, z in features.items()
    )
    density = Panel("angle", "density", {name: _angles(z) for name, z in features.items()})
    values = {"uniformity_loss": loss, "distance_over_uniformity": apart, "knn_z": accuracy, "stands": stands}
    return Measured(values, (*scenes, density))


def _known(rng: np.random.Generator, count: int = 1000) -> dict[str, float]:
    """The mean potential of known distributions on the circle."""

    def potential(angles: np.ndarray) -> float:
        return float(np.exp(4 * (np.cos(angles[:, None] - angles) - 1)).mean())

    return {
        "one point": potential(np.zeros(count)),
        "a quarter": potential(rng.uniform(0, np.pi / 2, count)),
        "two poles": potential(np.pi * (np.arange(count) % 2)),
        "half the circle": potential(rng.uniform(0, np.pi, count)),
        "evenly spread": potential(np.linspace(0, 2 * np.pi, count, endpoint=False)),
    }


@claim(
    "wi-fig4",
    "figure 4",
    "The average potential of pairs orders distributions on the circle as one would by eye, from one point to the "
    "uniform circle at e^-4 I_0(4) = 0.207; a contrastive encoder comes closest to that.",
    rule="known distributions are in that order and the even circle gives 0.207 to 1e-3; random, supervised and "
    "contrastive encoders are clearly in that order; in a range if the contrastive one is clearly the lowest alone",
    judge=lambda v: (
        REFUTED
        if not v["known_in_order"] or not v["contrastive_lowest"]
        else HOLDS
        if clearly_more(v["potential"]["random"], v["potential"]["supervised"])
        else RANGE
    ),
    recipes=sweep.CIRCLE.values(),
    labels=True,
    reported="uniform circle 0.207",
    why=lambda v: listed(v["potential"]) + "; ten evenly spaced classes are nearly uniform at t = 2",
)
def _(encoders: Encoders) -> Measured:
    known = _known(np.random.default_rng(0))
    leaves = each(encoders, sweep.CIRCLE, _potential)
    lowest = [clearly_more(leaves[other], leaves["contrastive"]) for other in ("random", "supervised")]
    order, floor = list(known.values()), float(np.exp(uniformity_floor(2)))
    values = {
        "potential": leaves,
        "known": known,
        "known_in_order": bool(order == sorted(order, reverse=True) and abs(order[-1] - floor) < 1e-3),
        "contrastive_lowest": all(lowest),
    }
    curves = {
        "known distributions": (list(known), order),
        "encoders": (list(leaves), means(leaves)),
    }
    level = {"e^-4 I_0(4)": floor}
    panel = Panel("", "mean potential of pairs, t = 2", curves, level, dots=True, spreads={"encoders": spreads(leaves)})
    return Measured(values, panel)


# --- both metrics


@claim(
    "wi-fig5",
    "figures 5 and 9",
    "Over many encoders, the best have both low alignment and low uniformity loss.",
    rule="over all encoders of the sweep (40 at least), the rank correlation of accuracy with the sum of both is "
    "clearly below -0.5, and clearly further from 0 than that with either alone; in a range if it is clearly below "
    "-0.3",
    judge=lambda v: (
        REFUTED
        if v["encoders"] < 40 or not clearly_more(-0.3, v["correlation"]["both"])
        else HOLDS
        if clearly_more(-0.5, v["correlation"]["both"])
        and all(clearly_more(v["size"]["both"], v["size"][alone]) for alone in ("alignment", "uniformity"))
        else RANGE
    ),
    recipes=sweep.EVERYTHING,
    labels=True,
    why=lambda v: f"rank correlations with accuracy: {listed(v['correlation'])}",
)
def _(encoders: Encoders) -> Measured:
    found = [encoders.measured(recipe) for recipe in sweep.EVERYTHING]
    rows = np.array([[[m["alignment"], -uniformity(m), m["knn_z"]] for m in one] for one in found])  # (R, seeds, 3)
    parts = {"both": rows[..., 0] + rows[..., 1], "alignment": rows[..., 0], "uniformity": rows[..., 1]}
    each_seed = {
        name: [rank_correlation(part[:, s], rows[:, s, 2]) for s in range(rows.shape[1])]
        for name, part in parts.items()
    }
    correlation = {name: over_seeds(values) for name, values in each_seed.items()}
    values = {
        "encoders": len(found),
        "correlation": correlation,
        "size": {name: over_seeds(np.abs(values).tolist()) for name, values in each_seed.items()},
    }
    average = rows.mean(axis=1)
    cloud = Cloud("alignment loss", "uniformity loss, t = 2", (average[:, 0], average[:, 1]), average[:, 2], ACCURACY)
    return Measured(values, cloud)


@claim(
    "wi-collapse",
    "section 5, figure 7",
    "With alignment alone all features collapse into one point.",
    rule="the uniformity loss ends clearly above -0.05 and positives clearly above a similarity of 0.97; in a range if "
    "it ends clearly above its value at the start",
    judge=lambda v: (
        HOLDS
        if v["uniformity_loss"]["alignment"]["mean"] > -0.05 and v["positive"]["alignment"]["mean"] > 0.97
        else RANGE
        if clearly_more(v["uniformity_loss"]["alignment"], v["uniformity_loss"]["untrained"])
        else REFUTED
    ),
    recipes=[sweep.ALIGN_ONLY, sweep.RATIOS[1.0], sweep.UNTRAINED],
    why=lambda v: (
        f"the uniformity loss ends at {v['uniformity_loss']['alignment']['mean']:.3f}, from "
        f"{v['uniformity_loss']['untrained']['mean']:.3f}, with positives at {v['positive']['alignment']['mean']:.3f}: "
        f"the way into the point is slow"
    ),
)
def _(encoders: Encoders) -> Measured:
    recipes = {"untrained": sweep.UNTRAINED, "alignment": sweep.ALIGN_ONLY, "both": sweep.RATIOS[1.0]}
    loss, positive = each(encoders, recipes, _uniformity_loss), each(encoders, recipes, "positive")
    values = {"uniformity_loss": loss, "positive": positive}
    if encoders.labelled:
        values["knn_z"] = each(encoders, recipes, "knn_z")
    return Measured(values, _bars({"uniformity loss, t = 2": loss, "similarity of positives": positive}, ""))


@claim(
    "wi-uniform-only",
    "section 5, figure 7",
    "With uniformity alone features are uniform, positives are not aligned, and accuracy is worse.",
    rule="beside both losses at equal weight and the same head: clearly more uniform, positives clearly less similar, "
    "accuracy clearly lower; in a range if the first two alone",
    judge=lambda v: (
        REFUTED
        if not clearly_more(v["uniformity"]["uniformity"], v["uniformity"]["both"])
        or not clearly_more(v["positive"]["both"], v["positive"]["uniformity"])
        else HOLDS
        if clearly_more(v["knn_z"]["both"], v["knn_z"]["uniformity"])
        else RANGE
    ),
    recipes=[sweep.UNIFORM_ONLY, sweep.TOGETHER["1 align + uniform(2)"]],
    labels=True,
    why=lambda v: f"accuracy: {listed(v['knn_z'])}",
)
def _(encoders: Encoders) -> Measured:
    recipes = {"uniformity": sweep.UNIFORM_ONLY, "both": sweep.TOGETHER["1 align + uniform(2)"]}
    spread, positive = each(encoders, recipes, uniformity), each(encoders, recipes, "positive")
    accuracy = each(encoders, recipes, "knn_z")
    bars = _bars({"similarity of positives": positive, "accuracy": accuracy}, "")
    return Measured({"uniformity": spread, "positive": positive, "knn_z": accuracy}, bars)


@claim(
    "wi-fig7",
    "figure 7",
    "Over the ratio of both weights accuracy is a reversed U, flat in the middle; weighted far towards alignment, "
    "features degenerate.",
    rule="accuracy at a ratio of 1 is clearly above that at 1/8 and at 16; between 1/2 and 2 it differs by less than 2 "
    "points; at 16 the mean potential is above 0.9; in a range if some of these",
    judge=lambda v: HOLDS if all(v["stands"].values()) else RANGE if any(v["stands"].values()) else REFUTED,
    recipes=sweep.RATIOS.values(),
    labels=True,
    reported="STL-10: degenerate where alignment weighs far more; ratios below 4 are safe",
    why=lambda v: (
        "of these, what stands: "
        + (", ".join(name for name, true in v["stands"].items() if true) or "nothing")
        + f"; the mean potential at 16 is {v['potential']['16']['mean']:.2f}"
    ),
)
def _(encoders: Encoders) -> Measured:
    accuracy, potential = each(encoders, sweep.RATIOS, "knn_z"), each(encoders, sweep.RATIOS, _potential)
    middle = [accuracy[name]["mean"] for name in ("0.5", "1", "2")]
    stands = {
        "falls towards uniformity": clearly_more(accuracy["1"], accuracy["0.125"]),
        "falls towards alignment": clearly_more(accuracy["1"], accuracy["16"]),
        "flat in the middle": max(middle) - min(middle) < 0.02,
        "degenerate": potential["16"]["mean"] > 0.9,
    }
    values = {
        "knn_z": accuracy,
        "potential": potential,
        "alignment": each(encoders, sweep.RATIOS, "alignment"),
        "stands": stands,
    }
    curves = {"accuracy": accuracy, "mean potential": potential, "alignment loss": values["alignment"]}
    return Measured(values, over("weight of alignment over that of uniformity", "", curves))


@claim(
    "wi-fig8",
    "figure 8",
    "Both properties cause good features: finetuning a bad encoder (temperature 2.5) improves accuracy only with both "
    "losses, not with one.",
    rule="accuracy rises clearly with both, and with neither alone; in a range if both together end clearly above "
    "either alone",
    judge=lambda v: (
        HOLDS
        if clearly_more(v["knn_z"]["both"], v["knn_z"]["start"])
        and not clearly_more(v["knn_z"]["alignment"], v["knn_z"]["start"])
        and not clearly_more(v["knn_z"]["uniformity"], v["knn_z"]["start"])
        else RANGE
        if all(clearly_more(v["knn_z"]["both"], v["knn_z"][alone]) for alone in ("alignment", "uniformity"))
        else REFUTED
    ),
    recipes=[*sweep.FINETUNED.values(), sweep.BAD_START],
    labels=True,
    why=lambda v: listed(v["knn_z"]),
)
def _(encoders: Encoders) -> Measured:
    recipes = {"start": sweep.BAD_START, **sweep.FINETUNED}
    accuracy, aligned = each(encoders, recipes, "knn_z"), each(encoders, recipes, "alignment")
    loss = each(encoders, recipes, _uniformity_loss)
    panels = (
        _bars({"accuracy": accuracy}, ACCURACY),
        _bars({"alignment loss": aligned, "uniformity loss": loss}, ""),
    )
    return Measured({"knn_z": accuracy, "alignment": aligned, "uniformity_loss": loss}, panels)


@claim(
    "wi-best",
    "tables 1 to 3",
    "Directly optimising alignment and uniformity is as good as the contrastive loss, or better.",
    rule="the best of five weightings is not clearly more than a point below the best of the temperatures from 0.05 to "
    "1, each chosen by its mean over seeds",
    judge=holds_if(lambda v: not clearly_more(v["best"]["contrastive"], v["best"]["align + uniform"], 0.01)),
    recipes=[*sweep.TOGETHER.values(), *sweep.PLAIN.values()],
    labels=True,
    reported="STL-10, 5NN on the output: 78.75 % contrastive, 78.89 % align + uniform",
    why=lambda v: listed(v["best"]),
)
def _(encoders: Encoders) -> Measured:
    plain = each(encoders, {tau: r for tau, r in sweep.PLAIN.items() if 0.05 <= tau <= 1}, "knn_z")
    ours = each(encoders, sweep.TOGETHER, "knn_z")
    best = {
        "contrastive": max(plain.values(), key=lambda leaf: leaf["mean"]),
        "align + uniform": max(ours.values(), key=lambda leaf: leaf["mean"]),
    }
    level = {"best contrastive": best["contrastive"]["mean"]}
    names = [name.replace(" align + ", ":").replace("align + ", "1:") for name in ours]
    panel = Panel("weights", ACCURACY, {"": (names, means(ours))}, level, dots=True, spreads={"": spreads(ours)})
    return Measured({"best": best, "contrastive": plain, "align_uniform": ours}, panel)


@claim_of_others(
    "dcl-small-batch",
    "Yeh et al. 2022, figure 3",
    "Small batches hurt InfoNCE; without the positive in the denominator (DCL) they hurt less.",
    rule="from a batch of 256 to one of 16, at the same number of steps, NT-Xent loses clearly more accuracy than DCL; "
    "in a range if DCL is clearly better at 16",
    judge=lambda v: (
        HOLDS
        if clearly_more(v["lost"]["nt_xent"], v["lost"]["dcl"])
        else RANGE
        if clearly_more(v["dcl"]["16"], v["nt_xent"]["16"])
        else REFUTED
    ),
    recipes=[recipe for some in sweep.BATCHES.values() for recipe in some.values()],
    labels=True,
    why=lambda v: (
        f"from 256 to 16 NT-Xent loses {100 * v['lost']['nt_xent']['mean']:.1f} points and DCL "
        f"{100 * v['lost']['dcl']['mean']:.1f}; the same steps show a batch of 16 a sixteenth of the images"
    ),
)
def _(encoders: Encoders) -> Measured:
    leaves = {loss: each(encoders, recipes, "knn_z") for loss, recipes in sweep.BATCHES.items()}
    lost = {
        loss: over_seeds(np.subtract(found["256"]["seeds"], found["16"]["seeds"]).tolist())
        for loss, found in leaves.items()
    }
    curves = {"NT-Xent": leaves["nt_xent"], "DCL": leaves["dcl"]}
    return Measured(leaves | {"lost": lost}, over("batch size", ACCURACY, curves))


@claim_of_others(
    "jing-collapse",
    "Jing et al. 2022, figure 5",
    "Strong augmentation collapses dimensions, and uniformity hardly sees it.",
    rule="from views of strength 0.3 to 2.5 the effective rank falls clearly and by more than a quarter, and "
    "uniformity by a smaller share; in a range if the first holds from 0.3 to 1 alone, or without the second",
    judge=lambda v: (
        HOLDS
        if "2.5" in v["rank_falls_to"] and v["share_lost"]["uniformity"] < v["share_lost"]["effective_rank"]
        else RANGE
        if v["rank_falls_to"]
        else REFUTED
    ),
    recipes=sweep.STRENGTHS.values(),
    why=lambda v: (
        "effective rank "
        + ", ".join(f"{leaf['mean']:.0f} at {name}" for name, leaf in v["effective_rank"].items())
        + "; uniformity "
        + ", ".join(f"{leaf['mean']:.2f}" for leaf in v["uniformity"].values())
        + ". Both fall together up to 1; beyond, the views share too little for anything to be aligned, and what is "
        "left spreads like noise"
    ),
)
def _(encoders: Encoders) -> Measured:
    rank, spread = each(encoders, sweep.STRENGTHS, "effective_rank"), each(encoders, sweep.STRENGTHS, uniformity)
    lost = {
        name: 1 - leaves["2.5"]["mean"] / leaves["0.3"]["mean"]
        for name, leaves in (("effective_rank", rank), ("uniformity", spread))
    }
    falls = [
        name
        for name in ("1", "2.5")
        if clearly_more(rank["0.3"], rank[name]) and rank[name]["mean"] < 0.75 * rank["0.3"]["mean"]
    ]
    curves = {}
    for strength, recipe in sweep.STRENGTHS.items():
        rows = np.array([m["singular_values"] for m in encoders.measured(recipe)]).mean(axis=0)
        curves[f"strength {strength:g}"] = np.arange(1, len(rows) + 1), rows
    panels = (
        Panel("index", "singular value of z", curves, log_y=True),
        Panel("strength of the views", "effective rank", {"": points(rank)}, spreads={"": spreads(rank)}),
    )
    return Measured({"effective_rank": rank, "uniformity": spread, "share_lost": lost, "rank_falls_to": falls}, panels)


def _bars(curves: dict[str, dict[str, Any]], y: str) -> Panel:
    """Measures of a few named encoders."""
    return Panel(
        "",
        y,
        {name: (list(leaves), means(leaves)) for name, leaves in curves.items()},
        spreads={name: spreads(leaves) for name, leaves in curves.items()},
        dots=True,
    )
