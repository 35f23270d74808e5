"""Wang & Isola 2020, "Alignment and Uniformity on the Hypersphere": what arithmetic and free points can settle."""

from __future__ import annotations

import math

import numpy as np

from hypercon import losses
from hypercon.autograd import tensor
from hypercon.experiments.papers.claim import (
    Claim,
    Measured,
    Panel,
    claims_to,
    holds_if,
    inconsistent_if,
    two_views,
    unit_rows,
)
from hypercon.metrics import uniformity, uniformity_floor
from hypercon.optim import Adam

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "Wang & Isola 2020")


def _with_self_pairs(z: np.ndarray, t: float) -> float:
    """The uniformity loss as the expectation over pairs drawn independently: an embedding may meet itself."""
    similarities = z @ z.T
    return float(np.log(np.exp(2 * t * (similarities - 1)).mean()))


def _log_0f1(dim: int, kappa: float) -> float:
    """The log of the mean of ``exp(kappa u . x)`` over the sphere: ``log 0F1(; m/2; kappa^2 / 4)``."""
    return uniformity_floor(dim, kappa / 2) + kappa


def _descended(z: np.ndarray, t: float, steps: int = 400) -> np.ndarray:
    """Free points after descending the uniformity loss."""
    points = tensor(z, requires_grad=True)
    optimizer = Adam([points], lambda step: 0.1 * 0.98**step)
    for _ in range(steps):
        losses.uniformity_loss(points, t=t).backward()
        optimizer.step()
    return points.data / np.linalg.norm(points.data, axis=1, keepdims=True)


def _circle(count: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@claim(
    "wi-cor1",
    "corollary 1, figures 10 and 11",
    "The uniformity loss lies between -2t + log 0F1(; m/2; t^2), for perfect uniformity alone, and 0, for a constant "
    "encoder; its least value falls with the dimension towards -2t.",
    rule="300 drawn batches stay within; 1,000 even points on the circle reach the floor to 1e-12 and equal points "
    "reach 0; the floor falls at every dimension up to 512 and ends within 1 % of -2t",
    judge=holds_if(
        lambda v: (
            v["least_above_floor"] > -1e-12
            and v["largest"] <= 1e-12
            and abs(v["even_circle_above_floor"]) < 1e-12
            and v["falls"]
            and v["end_over_limit"] > 0.99
        )
    ),
)
def _(rng: np.random.Generator) -> Measured:
    above, largest = [], [_with_self_pairs(np.tile(unit_rows(rng, 1, 5), (9, 1)), 2.0)]
    for _ in range(300):
        dim, t = int(rng.integers(2, 20)), float(rng.uniform(0.1, 8))
        z = rng.standard_normal((int(rng.integers(2, 40)), dim)) + rng.uniform(0, 3)
        value = _with_self_pairs(z / np.linalg.norm(z, axis=1, keepdims=True), t)
        above.append(value - uniformity_floor(dim, t))
        largest.append(value)
    dims = list(range(2, 513))
    floors = {t: [uniformity_floor(dim, t) for dim in dims] for t in (1.0, 2.0, 3.0)}
    values = {
        "least_above_floor": min(above),
        "largest": max(largest),
        "even_circle_above_floor": _with_self_pairs(_circle(1000), 2.0) - uniformity_floor(2, 2.0),
        "falls": all(bool((np.diff(row) < 0).all()) for row in floors.values()),
        "end_over_limit": min(row[-1] / (-2 * t) for t, row in floors.items()),
    }
    curves = {f"t = {t:g}": (dims, row) for t, row in floors.items()}
    return Measured(values, Panel("dimension", "least uniformity loss", curves, log_x=True))


@claim(
    "wi-fig10",
    "figure 10",
    "0F1(; m/2; t^2) tends to 1 as the dimension m grows.",
    rule="it falls at every dimension from 2 to 1,024 for t = 1, 2 and 3, and exceeds 1 there by less than 2.1 t^2 / m",
    judge=holds_if(lambda v: v["falls"] and v["largest_excess_times_m_over_t2"] < 2.1),
)
def _(rng: np.random.Generator) -> Measured:
    dims = list(range(2, 1025))
    rows = {t: np.exp([uniformity_floor(dim, t) + 2 * t for dim in dims]) for t in (1.0, 2.0, 3.0)}
    values = {
        "falls": all(bool((np.diff(row) < 0).all()) for row in rows.values()),
        "largest_excess_times_m_over_t2": max(float((row[-1] - 1) * 1024 / t**2) for t, row in rows.items()),
    }
    curves = {f"t = {t:g}": (dims, row) for t, row in rows.items()}
    return Measured(values, Panel("dimension m", "0F1(; m/2; t^2)", curves, {"1": 1.0}, log_x=True, log_y=True))


@claim(
    "wi-estimators",
    "appendix A.1.1",
    "Without pairs of an embedding with itself the estimate follows from that with them, (B exp(L1) - 1) / (B - 1), "
    "and may fall below the floor.",
    rule="the identity holds to 1e-10 for all batch sizes, and the estimate without self-pairs is below the floor for "
    "one of them at least",
    judge=holds_if(lambda v: v["largest_error"] < 1e-10 and v["below_the_floor"] > 0),
)
def _(rng: np.random.Generator) -> Measured:
    sizes = [8, 32, 128, 512, 2048]
    with_self, without, errors = [], [], []
    for size in sizes:
        z = unit_rows(rng, size, 128)
        with_self.append(_with_self_pairs(z, 2.0))
        without.append(-uniformity(z, 2.0))
        errors.append(abs(math.log((size * math.exp(with_self[-1]) - 1) / (size - 1)) - without[-1]))
    floor = uniformity_floor(128, 2.0)
    values = {"largest_error": max(errors), "below_the_floor": sum(value < floor for value in without)}
    curves = {"with self-pairs": (sizes, with_self), "without": (sizes, without)}
    return Measured(
        values, Panel("batch size", "uniformity loss, uniform points", curves, {"floor": floor}, log_x=True)
    )


@claim(
    "wi-prop1",
    "propositions 1 and 2",
    "Points that minimise the Gaussian potential spread evenly, and their distribution tends to the uniform one.",
    rule="descending from random starts, 8 points on the circle end evenly spaced to 1e-3 rad, 4 points on the sphere "
    "end as a tetrahedron to 1e-3, and the least energy falls towards the floor as points are added",
    judge=holds_if(lambda v: v["circle_error"] < 1e-3 and v["tetrahedron_error"] < 1e-3 and v["falls_to_the_floor"]),
)
def _(rng: np.random.Generator) -> Measured:
    circle, four = _descended(unit_rows(rng, 8, 2), 2.0), _descended(unit_rows(rng, 4, 3), 2.0)
    gaps = np.diff(np.sort(np.arctan2(circle[:, 1], circle[:, 0])))
    off = ~np.eye(4, dtype=bool)
    counts = [2, 4, 8, 16, 32, 64, 128]
    energies = [_with_self_pairs(_descended(unit_rows(rng, n, 3), 2.0), 2.0) for n in counts]
    floor = uniformity_floor(3, 2.0)
    values = {
        "circle_error": float(np.abs(gaps - np.pi / 4).max()),
        "tetrahedron_error": float(np.abs((four @ four.T)[off] + 1 / 3).max()),
        "falls_to_the_floor": bool(
            (np.diff(energies) < 0).all() and energies[-1] - floor < 1e-2 and energies[-1] > floor
        ),
        "least_energy_of_128_points_above_floor": energies[-1] - floor,
    }
    return Measured(
        values,
        Panel("points on the sphere", "least uniformity loss", {"found": (counts, energies)}, {"floor": floor}, True),
    )


@claim(
    "wi-zero-mean",
    "section 4.2",
    "Average pairwise products are minimised by any distribution with zero mean, so they do not measure uniformity.",
    rule="half of the points at each of two poles have a mean product of 0, as evenly spread points have, but a "
    "uniformity loss above half of the floor",
    judge=holds_if(lambda v: abs(v["mean_product"]) < 1e-12 and v["uniformity_loss"] > v["floor"] / 2),
)
def _(rng: np.random.Generator) -> Measured:
    shares = np.linspace(0.5, 1, 26)
    products, energies = [], []
    for share in shares:
        z = np.repeat([[1.0, 0.0], [-1.0, 0.0]], [round(100 * share), 100 - round(100 * share)], axis=0)
        products.append(float((z @ z.T).mean()))
        energies.append(_with_self_pairs(z, 2.0))
    values = {
        "mean_product": products[0],
        "uniformity_loss": energies[0],
        "floor": uniformity_floor(2, 2.0),
    }
    curves = {"mean product": (shares, products), "uniformity loss": (shares, energies)}
    return Measured(values, Panel("share at one of two poles", "", curves, {"floor on the circle": values["floor"]}))


@claim(
    "wi-theorem1",
    "theorem 1",
    "As negatives are added, the loss less log M tends to alignment plus the log of the mean potential, with a "
    "deviation of at most the order of M^(-1/2).",
    rule="for uniform negatives in 32 dimensions the standard deviation times sqrt(M) and the mean deviation times M "
    "change by less than 20 % from M = 256 to 4,096",
    judge=holds_if(
        lambda v: max(v["spread_ratio"], v["bias_ratio"]) < 1.2 and min(v["spread_ratio"], v["bias_ratio"]) > 0.8
    ),
)
def _(rng: np.random.Generator) -> Measured:
    dim, tau, draws = 32, 0.3, 4000
    limit = -1 / tau + _log_0f1(dim, 1 / tau)
    counts = [16, 64, 256, 1024, 4096]
    spread, bias = [], []
    for count in counts:
        # the product of a fixed point and a uniform one is a beta variable, stretched to [-1, 1]
        s = 2 * rng.beta((dim - 1) / 2, (dim - 1) / 2, (draws, count)) - 1
        deviation = -1 / tau + np.log((np.exp(1 / tau) + np.exp(s / tau).sum(axis=1)) / count) - limit
        spread.append(float(deviation.std() * math.sqrt(count)))
        bias.append(float(deviation.mean() * count))
    values = {"spread_ratio": spread[-1] / spread[2], "bias_ratio": bias[-1] / bias[2], "spread": spread, "bias": bias}
    curves = {"spread times sqrt(M)": (counts, spread), "mean deviation times M": (counts, bias)}
    return Measured(values, Panel("negatives M", "deviation from the limit", curves, log_x=True, log_y=True))


@claim(
    "wi-jensen",
    "section 4.3",
    "Taking the log outside the outer mean, as the uniformity loss does, can only raise the value; both agree where "
    "the potential is the same everywhere.",
    rule="outside is at least inside for 300 batches, and they agree to 1e-12 for even points on the circle",
    judge=holds_if(lambda v: v["least_difference"] >= -1e-12 and v["difference_on_even_circle"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    def both(z: np.ndarray, t: float) -> tuple[float, float]:
        kernel = np.exp(2 * t * (z @ z.T - 1))
        return float(np.log(kernel.mean(axis=1)).mean()), float(np.log(kernel.mean()))

    pairs = np.array([both(unit_rows(rng, int(rng.integers(2, 40)), 3), 2.0) for _ in range(300)])
    inside, outside = both(_circle(100), 2.0)
    values = {
        "least_difference": float((pairs[:, 1] - pairs[:, 0]).min()),
        "difference_on_even_circle": abs(outside - inside),
    }
    curves = {"batches": (pairs[:, 0], pairs[:, 1]), "equal": (np.sort(pairs[:, 0]), np.sort(pairs[:, 0]))}
    return Measured(values, Panel("log inside the mean", "log outside", curves, dots=True))


@claim(
    "wi-vmf",
    "section 4.3, entropy estimation",
    "The second term of the limit is a resubstitution entropy estimate with a von Mises-Fisher kernel of kappa = 1 / "
    "tau, up to that kernel's normaliser.",
    rule="the kernel with the closed-form normaliser integrates to 1 to 1e-10 over the circle and the sphere, and the "
    "mean log density equals the second term less the log normaliser to 1e-12",
    judge=holds_if(lambda v: v["largest_integral_error"] < 1e-10 and v["largest_difference"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    taus = [0.07, 0.2, 0.5, 1.0]
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    heights, weights = np.polynomial.legendre.leggauss(200)
    integrals, differences, entropies = [], [], []
    z = unit_rows(rng, 100, 3)
    for tau in taus:
        on_circle = float(np.exp(np.cos(angles) / tau - _log_0f1(2, 1 / tau)).mean())
        on_sphere = float((weights * np.exp(heights / tau - _log_0f1(3, 1 / tau))).sum() / 2)
        integrals += [abs(on_circle - 1), abs(on_sphere - 1)]
        density = np.exp(z @ z.T / tau - _log_0f1(3, 1 / tau)).mean(axis=1)
        second = float(np.log(np.exp(z @ z.T / tau).mean(axis=1)).mean())
        entropies.append(-float(np.log(density).mean()))
        differences.append(abs(-entropies[-1] - (second - _log_0f1(3, 1 / tau))))
    values = {"largest_integral_error": max(integrals), "largest_difference": max(differences)}
    return Measured(
        values, Panel("temperature", "entropy estimate of 100 points", {"relative to uniform": (taus, entropies)})
    )


@claim(
    "wi-kernel",
    "section 4.3",
    "The kernel of the uniformity loss at t = 1 / (2 tau) is that of the contrastive loss at temperature tau, up to a "
    "factor.",
    rule="exp(u.v / tau) and exp(1 / tau) exp(-|u - v|^2 / (2 tau)) agree to 1e-12, relative",
    judge=holds_if(lambda v: v["largest_relative_error"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    u, v = unit_rows(rng, 200, 8), unit_rows(rng, 200, 8)
    products, squares = (u * v).sum(axis=1), ((u - v) ** 2).sum(axis=1)
    curves, errors = {}, []
    for tau in (0.07, 0.2, 1.0):
        ours, theirs = np.exp(products / tau), np.exp(1 / tau) * np.exp(-squares / (2 * tau))
        errors.append(float(np.abs(theirs / ours - 1).max()))
        curves[f"temperature {tau:g}"] = ours, theirs
    panel = Panel("exp(u.v / tau)", "exp(1 / tau) G(u, v)", curves, log_x=True, log_y=True, dots=True)
    return Measured({"largest_relative_error": max(errors)}, panel)


# --- where the text contradicts itself


@claim(
    "wi-sign",
    "appendix B.1",
    "The contrastive loss is the mean of log e^(s_ii / tau) / sum_j e^(s_ij / tau), as printed there.",
    rule="inconsistent if that value is lower for views of unrelated instances than for aligned ones, so that "
    "descending it would tear views apart",
    judge=inconsistent_if(lambda v: v["as_printed_unrelated"] < v["as_printed_aligned"]),
    why=lambda v: (
        f"as printed it is {v['as_printed_unrelated']:.2f} for unrelated views and {v['as_printed_aligned']:.2f} for "
        f"aligned ones: a minus sign is missing"
    ),
)
def _(rng: np.random.Generator) -> Measured:
    z = unit_rows(rng, 64, 16)
    noises = np.linspace(0, 3, 13)
    printed = []
    for noise in noises:
        near = z + noise * rng.standard_normal(z.shape) / 4
        printed.append(-losses.info_nce(z, near, temperature=0.2))
    values = {
        "as_printed_aligned": printed[0],
        "as_printed_unrelated": -losses.info_nce(z, unit_rows(rng, 64, 16), temperature=0.2),
    }
    curves = {"as printed": (noises, printed), "with the minus sign": (noises, [-p for p in printed])}
    return Measured(values, Panel("noise between the views", "value", curves))


@claim(
    "wi-prefix",
    "appendix B.1",
    "The uniformity of a batch is the log of 2 / (K (K - 1)) times the sum over i != j, as printed there.",
    rule="inconsistent if, over ordered pairs, that exceeds the mean by log 2: the prefix counts every pair once",
    judge=inconsistent_if(lambda v: abs(v["excess"] - math.log(2)) < 1e-12),
    why=lambda v: f"over ordered pairs it exceeds the mean by {v['excess']:.4f}, which is log 2",
)
def _(rng: np.random.Generator) -> Measured:
    sizes, excess = [4, 16, 64, 256], []
    for size in sizes:
        z, _ = two_views(rng, size, 8)
        kernel = np.exp(4 * (z @ z.T - 1))[~np.eye(size, dtype=bool)]
        excess.append(float(np.log(2 / (size * (size - 1)) * kernel.sum())) + uniformity(z, 2.0))
    return Measured(
        {"excess": excess[-1]},
        Panel("batch size", "as printed less the mean", {"excess": (sizes, excess)}, {"log 2": math.log(2)}),
    )
