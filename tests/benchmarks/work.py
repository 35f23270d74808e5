"""What is computed: the inputs of each kind of work, and its answer in plain NumPy and float64.

A library does a kind of work under its name here: a method of its `Peer` that takes the inputs and settings and returns
a `Work`. Inputs are drawn by name, so that every process draws the same.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

BLOCK = 256  # rows of a matrix of pairs that the plain answers hold at a time
BATCH_NORM_EPS = 1e-5


class Work(NamedTuple):
    """A piece of work in one library."""

    run: Callable[[], Any]  # what is timed; it returns when the result is there
    results: Callable[[], dict[str, np.ndarray]]  # the same, once, with everything that is compared


def draw(kind: str, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs, float32. The first are data; the others, if any, are weights in the order of the layers."""
    return INPUTS[kind](np.random.default_rng(0), **settings)


def step_results(run: Callable[[], Any], weights: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The loss of one training step, and by how much it changed each weight."""
    before = {name: np.array(value) for name, value in weights().items()}
    loss = np.asarray(run())
    return {"loss": loss} | {name: value - before[name] for name, value in weights().items()}


def two_losses(step: Callable[[], Any]) -> dict[str, np.ndarray]:
    """The losses of two training steps on one batch.

    What compares steps of Adam: the first takes nothing but signs from the gradient, and where it is all but zero,
    rounding decides them.
    """
    return {"loss": np.asarray(step()), "loss after a step": np.asarray(step())}


def weights_of(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs without the data."""
    return {name: value for name, value in inputs.items() if name not in ("x", "images")}


# --- inputs


def _views(rng: Any, *, count: int, dim: int, noise: float = 0.5, **_: Any) -> dict[str, np.ndarray]:
    z = _normal(rng, count, dim)
    return {"z1": z, "z2": z + np.float32(noise) * _normal(rng, count, dim) if noise else z.copy()}


def _points(rng: Any, *, count: int, dim: int, **_: Any) -> dict[str, np.ndarray]:
    return {"z": _normal(rng, count, dim)}


def _mlp(rng: Any, *, count: int, widths: tuple[int, ...], **_: Any) -> dict[str, np.ndarray]:
    inputs = {"x": _normal(rng, count, widths[0])}
    for i, (before, after) in enumerate(pairwise(widths)):
        inputs[f"w{i}"] = _he(rng, before, (before, after))
        inputs[f"b{i}"] = np.zeros(after, np.float32)
    return inputs


def _cnn(
    rng: Any, *, count: int, side: int, channels: int, kernels: tuple[int, ...], dim: int, **_: Any
) -> dict[str, np.ndarray]:
    inputs = {"x": _normal(rng, count, channels, side, side)} | _convolutions(rng, channels, kernels)
    return inputs | {"w": _he(rng, kernels[-1], (kernels[-1], dim)), "b": np.zeros(dim, np.float32)}


def _training(
    rng: Any, *, images: int, side: int, channels: int, kernels: tuple[int, ...], dim: int, **_: Any
) -> dict[str, np.ndarray]:
    inputs = {"images": rng.random((images, channels, side, side), dtype=np.float32)}
    inputs |= _convolutions(rng, channels, kernels)
    features = kernels[-1]
    return inputs | {
        "head w0": _he(rng, features, (features, features)),
        "head scale": np.ones(features, np.float32),
        "head shift": np.zeros(features, np.float32),
        "head w1": _he(rng, features, (features, dim)),
    }


def _convolutions(rng: Any, channels: int, kernels: tuple[int, ...]) -> dict[str, np.ndarray]:
    weights = {}
    for i, width in enumerate(kernels):
        weights[f"kernels{i}"] = _he(rng, 9 * channels, (width, channels, 3, 3))
        weights[f"scale{i}"] = np.ones(width, np.float32)
        weights[f"shift{i}"] = np.zeros(width, np.float32)
        channels = width
    return weights


def _chain(rng: Any, **_: Any) -> dict[str, np.ndarray]:
    return {"x": np.linspace(0.1, 1, 8, dtype=np.float32)}


def _normal(rng: Any, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _he(rng: Any, fan_in: int, shape: tuple[int, ...]) -> np.ndarray:
    return _normal(rng, *shape) * np.float32(np.sqrt(2 / fan_in))


INPUTS: dict[str, Callable[..., dict[str, np.ndarray]]] = {
    "info_nce": _views,
    "nt_xent": _views,
    "uniformity": _points,
    "mlp_step": _mlp,
    "cnn_step": _cnn,
    "training": _training,
    "chain": _chain,
}


# --- answers in float64, as the definitions read


def answer(kind: str, inputs: dict[str, np.ndarray], settings: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The loss and its gradients, or None for work that is compared between libraries alone."""
    if kind not in ANSWERS:
        return None
    return ANSWERS[kind]({name: value.astype(np.float64) for name, value in inputs.items()}, **settings)


def _info_nce(inputs: Any, *, temperature: float, symmetric: bool, **_: Any) -> dict[str, Any]:
    u, v = _on_sphere(inputs["z1"]), _on_sphere(inputs["z2"])
    own = np.arange(len(u))
    loss, du, dv = _softmax_loss(u, v, own, temperature, itself=False)
    if symmetric:
        back, dv_back, du_back = _softmax_loss(v, u, own, temperature, itself=False)
        loss, du, dv = (loss + back) / 2, (du + du_back) / 2, (dv + dv_back) / 2
    return {"loss": loss, "z1": _through_sphere(inputs["z1"], du), "z2": _through_sphere(inputs["z2"], dv)}


def _nt_xent(inputs: Any, *, temperature: float, **_: Any) -> dict[str, Any]:
    count = len(inputs["z1"])
    z = np.concatenate([inputs["z1"], inputs["z2"]])
    u = _on_sphere(z)
    partner = (np.arange(2 * count) + count) % (2 * count)
    loss, by_anchors, by_candidates = _softmax_loss(u, u, partner, temperature, itself=True)
    dz = _through_sphere(z, by_anchors + by_candidates)
    return {"loss": loss, "z1": dz[:count], "z2": dz[count:]}


def _uniformity(inputs: Any, *, t: float, **_: Any) -> dict[str, Any]:
    u = _on_sphere(inputs["z"])
    total, du = 0.0, np.empty_like(u)
    for rows in _blocks(len(u)):
        kernel = np.exp(2 * t * (u[rows] @ u.T - 1))
        kernel[np.arange(len(rows)), rows] = 0
        total += kernel.sum()
        du[rows] = 4 * t * (kernel @ u)
    loss = np.log(total / (len(u) * (len(u) - 1)))
    return {"loss": loss, "z": _through_sphere(inputs["z"], du / total)}


def _mlp_step(inputs: Any, *, temperature: float, rate: float, **_: Any) -> dict[str, Any]:
    x, w0, b0, w1, b1 = inputs.values()
    h = np.maximum(x @ w0 + b0, 0)
    z = h @ w1 + b1
    half = len(z) // 2
    found = _nt_xent({"z1": z[:half], "z2": z[half:]}, temperature=temperature)
    dz = np.concatenate([found["z1"], found["z2"]])
    dh = (dz @ w1.T) * (h > 0)
    gradients = {"w0": x.T @ dh, "b0": dh.sum(0), "w1": h.T @ dz, "b1": dz.sum(0)}
    return {"loss": found["loss"]} | {name: -rate * gradient for name, gradient in gradients.items()}


def _chain_answer(inputs: Any, *, operations: int, **_: Any) -> dict[str, Any]:
    y, slope = inputs["x"], np.ones_like(inputs["x"])
    for _ in range(operations // 2):
        y, slope = y * 1.001 + inputs["x"], slope * 1.001 + 1
    return {"loss": y.sum(), "x": slope}


def _softmax_loss(
    anchors: np.ndarray, candidates: np.ndarray, positive: np.ndarray, temperature: float, *, itself: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean of -log softmax at the positives, and its gradients; ``itself`` leaves candidate i out for anchor i."""
    total, by_anchors, by_candidates = 0.0, np.empty_like(anchors), np.zeros_like(candidates)
    for rows in _blocks(len(anchors)):
        at = np.arange(len(rows))
        p = np.exp(anchors[rows] @ candidates.T / temperature)
        if itself:
            p[at, rows] = 0
        own = p[at, positive[rows]]
        p[at, positive[rows]] = 0  # negatives are summed apart, or a tiny loss would drown in the positive
        others = p.sum(axis=1)
        total += np.log1p(others / own).sum()
        p /= (own + others)[:, None]
        p[at, positive[rows]] = -others / (own + others)
        by_anchors[rows] = p @ candidates
        by_candidates += p.T @ anchors[rows]
    scale = 1 / (temperature * len(anchors))
    return total / len(anchors), scale * by_anchors, scale * by_candidates


def _blocks(count: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _on_sphere(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _through_sphere(z: np.ndarray, du: np.ndarray) -> np.ndarray:
    u = _on_sphere(z)
    return (du - u * (u * du).sum(axis=1, keepdims=True)) / np.linalg.norm(z, axis=1, keepdims=True)


ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "info_nce": _info_nce,
    "nt_xent": _nt_xent,
    "uniformity": _uniformity,
    "mlp_step": _mlp_step,
    "chain": _chain_answer,
}
