"""What both papers stand on and what followed them: collapse and floors, the sphere, and exact large batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon import losses, metrics
from hypercon.autograd import grad, matmul, tanh, tensor, value_and_grad
from hypercon.experiments.papers.claim import Claim, Measured, Panel, claims_to, holds_if, two_views, unit_rows

CLAIMS: list[Claim] = []
claim = claims_to(CLAIMS, "")


def _both(loss: Any, z1: np.ndarray, z2: np.ndarray, **settings: Any) -> tuple[float, np.ndarray, np.ndarray]:
    value, (by_z1, by_z2) = value_and_grad(lambda a, b: loss(a, b, **settings), (0, 1))(z1, z2)
    return float(value), by_z1, by_z2


@claim(
    "collapse",
    "van den Oord et al. 2018 and Chen et al. 2020",
    "When all embeddings coincide the loss is the log of the number of candidates, and nothing pulls them apart: the "
    "gradient is 0.",
    rule="InfoNCE is log N and NT-Xent log(2N - 1) to 1e-12 at every batch size, with gradients below 1e-14",
    judge=holds_if(lambda v: v["largest_error"] < 1e-12 and v["largest_gradient"] < 1e-14),
)
def _(rng: np.random.Generator) -> Measured:
    sizes, errors, gradients = [2, 8, 32, 128, 512], [], []
    values: dict[str, list[float]] = {"InfoNCE": [], "NT-Xent": []}
    for size in sizes:
        z = np.tile(unit_rows(rng, 1, 16), (size, 1))
        for name, loss, chance in (("InfoNCE", losses.info_nce, size), ("NT-Xent", losses.nt_xent, 2 * size - 1)):
            value, by_z1, by_z2 = _both(loss, z, z, temperature=0.2)
            values[name].append(value)
            errors.append(abs(value - math.log(chance)))
            gradients.append(float(max(np.abs(by_z1).max(), np.abs(by_z2).max())))
    found = {"largest_error": max(errors), "largest_gradient": max(gradients)}
    curves = {name: (sizes, row) for name, row in values.items()}
    return Measured(found, Panel("batch size", "loss of a collapsed encoder", curves, log_x=True))


@claim(
    "floor",
    "finite batches",
    "No batch of N instances goes below log(1 + (N - 1) exp(-(N / (N - 1)) / tau)); aligned views on a regular simplex "
    "reach it.",
    rule="the simplex reaches the floor to 1e-12, relative, for both losses, and 300 drawn batches stay above",
    judge=holds_if(lambda v: v["largest_simplex_error"] < 1e-12 and v["least_above"] > -1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    errors, above = [], []
    sizes = [2, 3, 5, 10, 20, 50]
    curves: dict[str, Any] = {}
    for tau in (0.07, 0.2, 1.0):
        row = []
        for size in sizes:
            simplex = np.eye(size) - 1 / size
            for name, loss in (("info_nce", losses.info_nce), ("nt_xent", losses.nt_xent)):
                floor = losses.floor(name, size, tau)
                errors.append(abs(loss(simplex, simplex, temperature=tau) / floor - 1))
            row.append(losses.floor("info_nce", size, tau))
        curves[f"temperature {tau:g}"] = sizes, row
    for _ in range(300):
        size, tau = int(rng.integers(2, 20)), float(rng.uniform(0.05, 2))
        z1, z2 = two_views(rng, size, int(rng.integers(2, 20)), noise=0.2)
        above.append(losses.info_nce(z1, z2, temperature=tau) - losses.floor("info_nce", size, tau))
    found = {"largest_simplex_error": max(errors), "least_above": min(above)}
    return Measured(found, Panel("batch size", "least InfoNCE", curves, log_x=True, log_y=True))


@claim(
    "need-for-the-sphere",
    "Wang & Isola 2020, section 1, and Wang & Liu 2021, section 1",
    "Without a fixed norm the loss can be lowered by growing embeddings alone; on the sphere it cannot.",
    rule="scaling embeddings by 100 takes the plain loss below 1e-6 of itself and leaves the normalised one as it is "
    "to 1e-12",
    judge=holds_if(lambda v: v["plain_at_100_over_1"] < 1e-6 and v["change_on_the_sphere"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    z, near = two_views(rng, 32, 32, noise=0.3)
    scales = np.geomspace(0.1, 100, 16)
    plain = [losses.info_nce(c * z, c * near, temperature=1.0, normalize=False) for c in scales.tolist()]
    sphere = [losses.info_nce(c * z, c * near, temperature=1.0) for c in scales.tolist()]
    at_1 = losses.info_nce(z, near, temperature=1.0, normalize=False)
    found = {"plain_at_100_over_1": plain[-1] / at_1, "change_on_the_sphere": max(sphere) - min(sphere)}
    curves = {"plain products": (scales, np.maximum(plain, 1e-18)), "on the sphere": (scales, sphere)}
    return Measured(found, Panel("scale of the embeddings", "loss", curves, log_x=True, log_y=True))


@claim(
    "radial",
    "the gradient through normalisation",
    "On the sphere no gradient lengthens or shortens an embedding, and longer embeddings feel smaller gradients: "
    "(I - z z^T) g / |h|.",
    rule="the radial part is below 1e-14 and the gradient times the length is constant to 1e-10, relative",
    judge=holds_if(lambda v: v["largest_radial_part"] < 1e-14 and v["largest_change"] < 1e-10),
)
def _(rng: np.random.Generator) -> Measured:
    z, near = two_views(rng, 32, 16)
    lengths = np.geomspace(0.1, 100, 13)
    norms, radial = [], []
    for length in lengths.tolist():
        gradient = grad(lambda a: losses.info_nce(a, near, temperature=0.2))(length * z)
        radial.append(float(np.abs((gradient * z).sum(axis=1)).max() * length))
        norms.append(float(np.linalg.norm(gradient)))
    products = np.array(norms) * lengths
    found = {"largest_radial_part": max(radial), "largest_change": float(np.ptp(products) / products[0])}
    return Measured(
        found,
        Panel("length of the embeddings", "length of the gradient", {"InfoNCE": (lengths, norms)}, {}, True, True),
    )


@claim(
    "learned-temperature",
    "Radford et al. 2021, section 2.5",
    "A learned scale k = 1 / tau grows without bound once positives lead, which is why CLIP clips it: dL/dk = E_P[s] - "
    "s_ii.",
    rule="the derivative by the scale is E_P[s] - s_ii to 1e-10, and negative at every scale for aligned views",
    judge=holds_if(lambda v: v["largest_error"] < 1e-10 and v["largest_derivative_when_aligned"] < 0),
)
def _(rng: np.random.Generator) -> Measured:
    errors, slopes = [], {}
    scales = np.geomspace(1, 100, 15)

    def of_scale(k: Any, z: np.ndarray, near: np.ndarray) -> Any:
        return losses.info_nce(z, near, temperature=1 / k)

    for name, noise in (("aligned views", 0.1), ("unrelated views", 50.0)):
        z, near = two_views(rng, 32, 16, noise)
        s, row = z @ near.T, []
        for k in scales:
            slope = float(grad(of_scale)(k, z, near))
            p = np.exp(k * (s - s.max(axis=1, keepdims=True)))
            p /= p.sum(axis=1, keepdims=True)
            errors.append(abs(slope - float(((p * s).sum(axis=1) - np.diag(s)).mean())))
            row.append(slope)
        slopes[name] = scales, row
    found = {"largest_error": max(errors), "largest_derivative_when_aligned": max(slopes["aligned views"][1])}
    return Measured(
        found, Panel("scale 1 / tau", "derivative of the loss by the scale", slopes, {"0": 0.0}, log_x=True)
    )


# --- what uniformity does not see


@claim(
    "fang-padding",
    "Fang et al. 2024",
    "The uniformity loss does not notice dimensions that are padded with zeros or cloned, but punishes repeated "
    "instances; the Wasserstein distance to the uniform distribution notices the former.",
    rule="padding and cloning change the uniformity loss by less than 1e-12, repetition raises it by more than 0.1, "
    "and padding at least doubles the Wasserstein distance",
    judge=holds_if(
        lambda v: (
            abs(v["padded"]) < 1e-12
            and abs(v["cloned"]) < 1e-12
            and v["repeated"] > 0.1
            and v["wasserstein_padded"] > 2 * v["wasserstein"]
        )
    ),
)
def _(rng: np.random.Generator) -> Measured:
    ways: dict[str, Any] = {
        "as it is": lambda z: z,
        "padded": lambda z: np.pad(z, ((0, 0), (0, 64))),
        "cloned": lambda z: np.tile(z, 2) / math.sqrt(2),
        "repeated": lambda z: np.tile(z, (2, 1)),
    }
    few, many = unit_rows(rng, 100, 64), unit_rows(rng, 1000, 64)  # 100 points' covariance is not yet the uniform one
    spread = [-metrics.uniformity(way(few)) for way in ways.values()]
    distance = [metrics.wasserstein_uniformity(way(many)) for way in ways.values()]
    found = {name: value - spread[0] for name, value in zip(ways, spread, strict=True) if name != "as it is"}
    found |= {"wasserstein": distance[0], "wasserstein_padded": distance[1]}
    curves = {"uniformity loss": (list(ways), spread), "Wasserstein distance": (list(ways), distance)}
    return Measured(found, Panel("", "", curves, dots=True))


@claim(
    "fang-rank",
    "Fang et al. 2024",
    "Uniformity hardly sees a collapse of dimensions; effective rank and the Wasserstein distance do.",
    rule="from 32 to 256 filled dimensions of 256 the uniformity loss changes by less than 6 %, while the effective "
    "rank grows at least sixfold and the Wasserstein distance falls to less than a third",
    judge=holds_if(
        lambda v: (
            abs(v["uniformity_loss"][0] / v["uniformity_loss"][-1] - 1) < 0.06
            and v["effective_rank"][-1] > 6 * v["effective_rank"][0]
            and v["wasserstein"][-1] < v["wasserstein"][0] / 3
        )
    ),
)
def _(rng: np.random.Generator) -> Measured:
    filled = [32, 64, 128, 256]
    batches = [np.pad(unit_rows(rng, 1000, k), ((0, 0), (0, 256 - k))) for k in filled]
    found = {
        "uniformity_loss": [-metrics.uniformity(z) for z in batches],
        "effective_rank": [metrics.effective_rank(z) for z in batches],
        "wasserstein": [metrics.wasserstein_uniformity(z) for z in batches],
    }
    shares = {
        "uniformity loss": [v / found["uniformity_loss"][-1] for v in found["uniformity_loss"]],
        "effective rank": [v / found["effective_rank"][-1] for v in found["effective_rank"]],
        "1 less Wasserstein distance / 1.2": [1 - v / 1.2 for v in found["wasserstein"]],
    }
    curves = {name: (filled, row) for name, row in shares.items()}
    return Measured(found, Panel("dimensions filled, of 256", "share of its value when all are", curves, log_x=True))


# --- large batches


def _encode(x: Any, weights: Any) -> Any:
    return tanh(matmul(x, weights))


def _batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, near = two_views(rng, 64, 20)
    return x, near, rng.standard_normal((20, 16))


def _full_gradient(x: np.ndarray, near: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return grad(lambda w: losses.info_nce(_encode(x, w), _encode(near, w), temperature=0.1))(weights)


@claim(
    "gradcache",
    "Gao et al. 2021",
    "Encoding a batch in pieces, with the gradient of the loss by the embeddings kept in between, gives the gradient "
    "of the whole batch.",
    rule="the gradients by the encoder's weights agree to 1e-12, relative, for 1 to 32 pieces",
    judge=holds_if(lambda v: v["largest_error"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    x, near, weights = _batch(rng)
    whole = _full_gradient(x, near, weights)
    _, by_z1, by_z2 = _both(losses.info_nce, _encode(x, weights), _encode(near, weights), temperature=0.1)
    pieces, errors = [1, 2, 4, 8, 16, 32], []
    for count in pieces:
        w = tensor(weights, requires_grad=True)
        for images, cached in ((x, by_z1), (near, by_z2)):
            for part, g in zip(np.split(images, count), np.split(cached, count), strict=True):
                _encode(part, w).backward(g)
        assert w.grad is not None
        errors.append(float(np.abs(w.grad.data - whole).max() / np.abs(whole).max()))
    panel = Panel(
        "pieces", "relative error of the gradient", {"GradCache": (pieces, np.maximum(errors, 1e-17))}, log_y=True
    )
    return Measured({"largest_error": max(errors)}, panel)


@claim(
    "accumulation",
    "Gao et al. 2021",
    "Accumulating the gradients of small batches is not the gradient of the large batch: each has fewer negatives.",
    rule="with 4 pieces the mean gradient differs by more than 20 % of the whole batch's, and its loss is lower",
    judge=holds_if(lambda v: v["relative_error_of_4"] > 0.2 and v["loss_of_4"] < v["loss_of_1"]),
)
def _(rng: np.random.Generator) -> Measured:
    x, near, weights = _batch(rng)
    whole = _full_gradient(x, near, weights)
    pieces, errors, values = [1, 2, 4, 8, 16, 32], [], []
    for count in pieces:
        parts = list(zip(np.split(x, count), np.split(near, count), strict=True))
        mean = sum(_full_gradient(a, b, weights) for a, b in parts) / count
        errors.append(float(np.linalg.norm(mean - whole) / np.linalg.norm(whole)))
        each = [losses.info_nce(_encode(a, weights), _encode(b, weights), temperature=0.1) for a, b in parts]
        values.append(float(np.mean(each)))
    found = {"relative_error_of_4": errors[2], "loss_of_4": values[2], "loss_of_1": values[0]}
    return Measured(found, Panel("pieces", "relative error of the gradient", {"accumulation": (pieces, errors)}))


@claim(
    "tiles",
    "Cheng et al. 2024",
    "The softmax over a batch can be put together from blocks of it, exactly: their log-sum-exps merge, and the "
    "gradient needs no more than the merged one.",
    rule="log-sum-exps merged over 1 to 64 blocks and the gradient from them agree with the whole to 1e-12",
    judge=holds_if(lambda v: v["largest_error"] < 1e-12 and v["largest_gradient_error"] < 1e-12),
)
def _(rng: np.random.Generator) -> Measured:
    z1, z2 = two_views(rng, 64, 16)
    logits = z1 @ z2.T / 0.1
    _, by_z1, _ = _both(losses.info_nce, z1, z2, temperature=0.1, normalize=False)
    blocks, errors, gradients = [1, 2, 4, 8, 16, 64], [], []
    whole = np.log(np.exp(logits - 10).sum(axis=1)) + 10
    for count in blocks:
        merged = np.full(64, -np.inf)
        for part in np.split(logits, count, axis=1):
            merged = np.logaddexp(merged, np.log(np.exp(part - 10).sum(axis=1)) + 10)
        errors.append(float(np.abs(merged - whole).max()))
        rebuilt = (np.exp(logits - merged[:, None]) - np.eye(64)) @ z2 / (0.1 * 64)
        gradients.append(float(np.abs(rebuilt - by_z1).max()))
    found = {"largest_error": max(errors), "largest_gradient_error": max(gradients)}
    curves = {"log-sum-exp": (blocks, np.maximum(errors, 1e-17)), "gradient": (blocks, np.maximum(gradients, 1e-17))}
    return Measured(found, Panel("blocks", "largest error", curves, log_x=True, log_y=True))
