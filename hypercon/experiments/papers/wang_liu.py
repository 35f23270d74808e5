"""Wang & Liu 2021, "Understanding the Behaviour of Contrastive Loss": what arithmetic can settle.

Where a loss is asked for its derivative by similarities, it is given the similarities in the place of ``z1`` and the
identity in the place of ``z2``, without normalisation: their product is the matrix itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon import losses
from hypercon.autograd import grad
from hypercon.experiments.papers.claim import (
    HOLDS,
    RANGE,
    REFUTED,
    Claim,
    Measured,
    Panel,
    claims_to,
    holds_if,
    inconsistent_if,
    two_views,
    unit_rows,
)
from hypercon.explain import explain
from hypercon.metrics import tolerance

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "Wang & Liu 2021")

TEMPERATURES = (0.07, 0.3, 1.0)
GRID = np.geomspace(0.02, 10, 40)


def _loss(similarities: np.ndarray, tau: float) -> float:
    """Eq. 1, mean over anchors, of a matrix whose diagonal holds the positives."""
    logits = similarities / tau
    top = logits.max(axis=1)
    return float((np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - np.diag(logits)).mean())


def _by_differences(similarities: np.ndarray, tau: float) -> np.ndarray:
    """The derivative of the loss by every similarity, from central differences at two widths."""
    found = np.empty_like(similarities)
    for i, j in np.ndindex(similarities.shape):
        slopes = []
        for h in (1e-3 * tau, 5e-4 * tau):
            ahead, behind = similarities.copy(), similarities.copy()
            ahead[i, j] += h
            behind[i, j] -= h
            slopes.append((_loss(ahead, tau) - _loss(behind, tau)) / (2 * h))
        found[i, j] = (4 * slopes[1] - slopes[0]) / 3
    return found


def _by_similarities(loss: Any, similarities: np.ndarray, **settings: Any) -> np.ndarray:
    """The derivative of a loss by every similarity, from the engine."""
    identity = np.eye(len(similarities))
    return grad(lambda s: loss(s, identity, normalize=False, **settings))(similarities)


def _weights(similarities: np.ndarray, tau: float) -> np.ndarray:
    """Eq. 5 for one anchor: the softmax over its negatives."""
    e = np.exp((similarities - similarities.max()) / tau)
    return e / e.sum()


def _entropy(weights: np.ndarray) -> float:
    some = weights[weights > 0]
    return float(-(some * np.log(some)).sum())


@claim(
    "wl-eq4",
    "eq. 4",
    "The loss pulls a positive with (1/tau) sum_k P_ik and pushes each negative with (1/tau) P_ij.",
    rule="the closed form and finite differences of the loss differ by less than 1e-8",
    judge=holds_if(lambda v: v["largest_difference"] < 1e-8),
)
def _(rng: np.random.Generator) -> Measured:
    z1, z2 = two_views(rng, 10, 6)
    curves, worst = {}, 0.0
    for tau in TEMPERATURES:
        closed, measured = explain(z1, z2, temperature=tau).grad_similarities, _by_differences(z1 @ z2.T, tau)
        worst = max(worst, float(np.abs(closed - measured).max()))
        curves[f"temperature {tau:g}"] = measured.ravel(), closed.ravel()
    return Measured({"largest_difference": worst}, Panel("by differences", "closed form", curves, dots=True))


@claim(
    "wl-eq4-balance",
    "after eq. 4",
    "The penalties on all negatives together equal the pull on the positive.",
    rule="their ratio is 1 to 1e-12 for every anchor and temperature",
    judge=holds_if(lambda v: v["largest_deviation"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    similarities = rng.uniform(-1, 1, (32, 32))
    curves = {}
    for tau in TEMPERATURES:
        slopes = _by_similarities(losses.info_nce, similarities, temperature=tau)
        pull = -np.diag(slopes)
        curves[f"temperature {tau:g}"] = range(32), (slopes.sum(axis=1) + pull) / pull
    worst = max(float(np.abs(np.asarray(y) - 1).max()) for _, y in curves.values())
    return Measured(
        {"largest_deviation": worst}, Panel("anchor", "all pushes over the pull", curves, {"balance": 1.0}, dots=True)
    )


@claim(
    "wl-eq5",
    "eq. 5",
    "Relative to the pull, each negative is pushed by a Boltzmann weight: the softmax over the negatives alone.",
    rule="the ratio of gradients and the softmax over negatives differ by less than 1e-12, and sum to 1",
    judge=holds_if(lambda v: v["largest_difference"] < 1e-12 and v["largest_sum_error"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    similarities = rng.uniform(-1, 1, (24, 24))
    curves, worst, sums = {}, 0.0, 0.0
    off = ~np.eye(24, dtype=bool)
    for tau in TEMPERATURES:
        slopes = _by_similarities(losses.info_nce, similarities, temperature=tau)
        ratio = slopes / -np.diag(slopes)[:, None]
        expected = np.stack([_weights(row[keep], tau) for row, keep in zip(similarities, off, strict=True)])
        found = ratio[off].reshape(24, 23)
        worst, sums = max(worst, np.abs(found - expected).max()), max(sums, np.abs(found.sum(axis=1) - 1).max())
        curves[f"temperature {tau:g}"] = similarities[off], found.ravel()
    return Measured(
        {"largest_difference": float(worst), "largest_sum_error": float(sums)},
        Panel("similarity of the negative", "its share of the push", curves, log_y=True, dots=True),
    )


@claim(
    "wl-entropy",
    "section 3.2",
    "As the temperature falls, the entropy of the weights decreases strictly.",
    rule="it rises over 40 temperatures from 0.02 to 10; its slope is Var_r(s) / tau^3 to 1e-6; at 10 it is within "
    "0.1 % of log K",
    judge=holds_if(lambda v: v["rises"] and v["slope_error"] < 1e-6 and v["share_of_log_k"] > 0.999),
)
def _(rng: np.random.Generator) -> Measured:
    similarities = rng.uniform(-1, 1, 200)
    entropies = [_entropy(_weights(similarities, tau)) for tau in GRID]
    errors = []
    for tau in GRID:
        weights, h = _weights(similarities, tau), 1e-4 * tau
        variance = (weights * similarities**2).sum() - (weights * similarities).sum() ** 2
        slope = _entropy(_weights(similarities, tau + h)) - _entropy(_weights(similarities, tau - h))
        errors.append(abs(slope / (2 * h) * tau**3 / variance - 1))
    values = {
        "rises": bool((np.diff(entropies) > 0).all()),
        "slope_error": float(max(errors)),
        "share_of_log_k": entropies[-1] / math.log(200),
    }
    return Measured(
        values,
        Panel(
            "temperature",
            "entropy of the weights",
            {"200 negatives": (GRID, entropies)},
            {"log K": math.log(200)},
            True,
        ),
    )


@claim(
    "wl-fig3",
    "figure 3",
    "A small temperature penalises only a narrow interval of the most similar negatives; a large one penalises all "
    "alike.",
    rule="the share on the most similar tenth falls with every temperature, from above 90 % at 0.07 to below 25 % at 1",
    judge=holds_if(lambda v: v["falls"] and v["on_the_tenth"]["0.07"] > 0.9 and v["on_the_tenth"]["1"] < 0.25),
)
def _(rng: np.random.Generator) -> Measured:
    similarities = np.sort(rng.uniform(-1, 1, 1000))
    curves = {f"temperature {tau:g}": (similarities, _weights(similarities, tau)) for tau in (0.07, 0.2, 0.5, 1.0)}
    shares = {f"{tau:g}": float(_weights(similarities, tau)[-100:].sum()) for tau in (0.07, 0.2, 0.5, 1.0)}
    falls = list(shares.values()) == sorted(shares.values(), reverse=True)
    return Measured(
        {"on_the_tenth": shares, "falls": falls},
        Panel("similarity of the negative", "share of the push", curves, log_y=True),
    )


@claim(
    "wl-eq6",
    "eq. 6",
    "As the temperature goes to 0 the loss becomes a triplet loss without margin, of the nearest negative alone. (As "
    "printed both sides diverge; tau L has a limit.)",
    rule="tau L exceeds mean max(s_max - s_ii, 0) by at most tau log N at every temperature, and by less than 0.001 at "
    "0.0001",
    judge=holds_if(lambda v: v["within_bound"] and -1e-12 < v["excess_at_smallest"] < 1e-3),
)
def _(rng: np.random.Generator) -> Measured:
    z1, z2 = two_views(rng, 64, 8, noise=1.5)
    taus = np.geomspace(1e-4, 1, 17)
    excess = [tau * losses.info_nce(z1, z2, temperature=tau) - losses.triplet_limit(z1, z2) for tau in taus]
    bound = taus * math.log(64)
    values = {"within_bound": bool((np.asarray(excess) <= bound).all()), "excess_at_smallest": float(excess[0])}
    curves = {"tau L less its limit": (taus, excess), "tau log N": (taus, bound)}
    return Measured(values, Panel("temperature", "difference", curves, log_x=True, log_y=True))


@claim(
    "wl-eq7",
    "eq. 7",
    "As the temperature grows the loss becomes linear in the similarities: minus the positive plus the mean negative.",
    rule="the error times tau^2 changes by less than 2 % from a temperature of 30 to one of 300",
    judge=holds_if(lambda v: abs(v["error_times_tau_squared"][1] / v["error_times_tau_squared"][0] - 1) < 0.02),
)
def _(rng: np.random.Generator) -> Measured:
    z1, z2 = two_views(rng, 64, 8)
    taus = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
    errors = np.array(
        [
            abs(losses.info_nce(z1, z2, temperature=t) - losses.first_order_limit(z1, z2, temperature=t))
            for t in taus.tolist()
        ]
    )
    values = {"error_times_tau_squared": [float(errors[i] * taus[i] ** 2) for i in (3, 5)]}
    return Measured(
        values, Panel("temperature", "error of the linear form", {"error": (taus, errors)}, log_x=True, log_y=True)
    )


@claim(
    "wl-eq3",
    "eq. 3",
    "The simple loss is not hardness-aware: it pushes all negatives alike.",
    rule="its derivative by every negative similarity is one constant to 1e-15, while InfoNCE's spans a factor above "
    "100",
    judge=holds_if(lambda v: v["spread_simple"] < 1e-15 and v["spread_info_nce"] > 100),
)
def _(rng: np.random.Generator) -> Measured:
    similarities = rng.uniform(-1, 1, (16, 16))
    off = ~np.eye(16, dtype=bool)
    simple = _by_similarities(losses.simple_loss, similarities)[off]
    hard = _by_similarities(losses.info_nce, similarities, temperature=0.07)[off]
    values = {"spread_simple": float(np.ptp(simple)), "spread_info_nce": float(hard.max() / hard.min())}
    curves = {"simple loss": (similarities[off], simple), "InfoNCE at 0.07": (similarities[off], hard)}
    return Measured(values, Panel("similarity of the negative", "push", curves, log_y=True, dots=True))


@claim(
    "wl-eq8",
    "eq. 8 and 9",
    "The hard loss pushes only negatives above the upper quantile, with weights that sum to the pull; it is never "
    "above the plain loss, and equal to it when all are kept.",
    rule="pushes below the cut are exactly 0, the others sum to the pull to 1e-12, and the loss rises with the share "
    "kept up to InfoNCE's own value",
    judge=holds_if(
        lambda v: (
            v["push_below_the_cut"] == 0 and v["sum_error"] < 1e-12 and v["rises"] and v["difference_at_1"] < 1e-12
        )
    ),
)
def _(rng: np.random.Generator) -> Measured:
    similarities, tau, kept = rng.uniform(-1, 1, (40, 40)), 0.2, 8
    slopes = _by_similarities(losses.hard_info_nce, similarities, temperature=tau, k=kept)
    off = ~np.eye(40, dtype=bool)
    negatives, pushes = similarities[off].reshape(40, 39), slopes[off].reshape(40, 39)
    below = negatives < np.sort(negatives, axis=1)[:, -kept][:, None]
    alphas = np.linspace(0.1, 1, 10)
    identity = np.eye(40)
    hard = [
        losses.hard_info_nce(similarities, identity, temperature=tau, alpha=a, normalize=False) for a in alphas.tolist()
    ]
    plain = losses.info_nce(similarities, identity, temperature=tau, normalize=False)
    values = {
        "push_below_the_cut": float(np.abs(pushes[below]).max()),
        "sum_error": float(np.abs(pushes.sum(axis=1) / -np.diag(slopes) - 1).max()),
        "rises": bool((np.diff(hard) > 0).all()),
        "difference_at_1": abs(hard[-1] - plain),
    }
    return Measured(
        values, Panel("share of negatives kept", "loss", {"hard InfoNCE": (alphas, hard)}, {"InfoNCE": plain})
    )


@claim(
    "wl-fig1",
    "figure 1",
    "Exchanging two instances leaves the loss as it is, though only one of the two layouts is semantically useful.",
    rule="the loss changes by less than 1e-12 over 200 exchanges, and the tolerance falls by more than half",
    judge=holds_if(lambda v: v["largest_change_of_loss"] < 1e-12 and v["tolerance_after"] < v["tolerance_before"] / 2),
)
def _(rng: np.random.Generator) -> Measured:
    labels = np.arange(60) % 3
    z = np.eye(3)[labels] + 0.4 * rng.standard_normal((60, 3))
    near = z + 0.1 * rng.standard_normal(z.shape)
    start = losses.info_nce(z, near, temperature=0.2)
    order, changes, seen = np.arange(60), [], [tolerance(z, labels)]
    for _ in range(200):
        i, j = rng.choice(60, 2, replace=False)
        order[[i, j]] = order[[j, i]]
        changes.append(abs(losses.info_nce(z[order], near[order], temperature=0.2) - start))
        seen.append(tolerance(z[order], labels))
    values = {
        "largest_change_of_loss": max(changes),
        "tolerance_before": seen[0],
        "tolerance_after": seen[-1],
    }
    return Measured(values, Panel("exchanges", "tolerance", {"the loss stays the same": (range(201), seen)}))


# --- where the text contradicts itself

_TOLERANCE = {  # Table 1, tolerance at temperatures 0.07, 0.3, 0.7 and 1.0, then of the simple loss
    "CIFAR10": (0.04, 0.178, 0.333, 0.372, 0.61),
    "CIFAR100": (0.10, 0.269, 0.331, 0.343, 0.39),
    "SVHN": (0.032, 0.137, 0.186, 0.197, 0.074),
    "ImageNet100": (0.093, 0.380, 0.427, 0.456, 0.528),
}


@claim(
    "wl-eq11",
    "eq. 11 and table 1",
    "Tolerance is the mean over all pairs of their similarity times the indicator of one class.",
    rule="inconsistent if table 1 reports more than that mean can be: it is at most the share of same-class pairs, 1 "
    "in 10 for ten balanced classes",
    judge=inconsistent_if(lambda v: v["reported_for_10_classes"] > v["most_as_printed"]),
    why=lambda v: (
        f"table 1 reports {v['reported_for_10_classes']:g} for ten classes, and the mean as printed stays below "
        f"{v['most_as_printed']:.3f}: what the table reports is the mean over same-class pairs"
    ),
)
def _(rng: np.random.Generator) -> Measured:
    labels = np.repeat(np.arange(10), 50)
    common = unit_rows(rng, 10, 32)[labels]
    shares = np.linspace(0, 1, 11)
    conditional, printed = [], []
    for share in shares:
        z = np.sqrt(share) * common + np.sqrt(1 - share) * unit_rows(rng, 500, 32)
        conditional.append(tolerance(z, labels))
        printed.append(conditional[-1] * 49 / 499)
    values = {"reported_for_10_classes": _TOLERANCE["CIFAR10"][-1], "most_as_printed": max(printed)}
    curves = {"mean over same-class pairs": (shares, conditional), "as printed": (shares, printed)}
    level = {"table 1, CIFAR10, simple loss": _TOLERANCE["CIFAR10"][-1]}
    return Measured(values, Panel("how much of an embedding is its class's", "tolerance", curves, level))


@claim(
    "wl-table1-tolerance",
    "table 1",
    "Tolerance rises with the temperature; the simple loss is its end.",
    rule="holds if the reported tolerances rise from 0.07 to 1.0 and on to the simple loss on all four data sets, in a "
    "range if they do up to 1.0",
    judge=lambda v: HOLDS if v["to_the_simple_loss"] == 4 else RANGE if v["to_temperature_1"] == 4 else REFUTED,
    why=lambda v: (
        f"up to a temperature of 1 it rises on {v['to_temperature_1']} of 4 data sets, on to the simple loss on "
        f"{v['to_the_simple_loss']}: on SVHN the simple loss's is lower than that of 0.3"
    ),
)
def _(rng: np.random.Generator) -> Measured:
    rises = {
        "to_temperature_1": sum(list(row[:4]) == sorted(row[:4]) for row in _TOLERANCE.values()),
        "to_the_simple_loss": sum(list(row) == sorted(row) for row in _TOLERANCE.values()),
    }
    curves = {name: (("0.07", "0.3", "0.7", "1", "simple loss"), row) for name, row in _TOLERANCE.items()}
    return Measured(rises, Panel("temperature", "tolerance, as reported", curves))


_IMAGES = {"CIFAR10": 50_000, "CIFAR100": 50_000, "SVHN": 73_257, "ImageNet100": 130_000}  # the last is about
_ALPHA = {"CIFAR10": 0.0819, "CIFAR100": 0.0819, "SVHN": 0.0315, "ImageNet100": 0.034}


@claim(
    "wl-alpha",
    "section 5.1",
    "The upper quantiles of the four data sets all stand for the nearest 4,095 negatives.",
    rule="inconsistent if 4,095 / alpha is more than 10 % off the number of training images for any data set",
    judge=inconsistent_if(lambda v: max(abs(share - 1) for share in v["implied_over_actual"].values()) > 0.1),
    why=lambda v: (
        "4,095 / alpha over the number of training images is "
        + ", ".join(f"{share:.2f} for {name}" for name, share in v["implied_over_actual"].items())
    ),
)
def _(rng: np.random.Generator) -> Measured:
    implied = {name: 4095 / alpha for name, alpha in _ALPHA.items()}
    values = {"implied_over_actual": {name: implied[name] / _IMAGES[name] for name in implied}}
    curves = {
        "implied by alpha": (list(implied), list(implied.values())),
        "actual": (list(_IMAGES), list(_IMAGES.values())),
    }
    return Measured(values, Panel("", "training images", curves, dots=True))
