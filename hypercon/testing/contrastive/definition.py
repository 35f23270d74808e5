"""The losses as their papers write them, in loops, with the gradient in closed form: what a loss is held against.

It shares no code with `hypercon.losses`, whose own tests use it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hypercon.errors import InputError
from hypercon.testing.contrastive.cases import Case, unit


@dataclass(frozen=True)
class Meant:
    """Which loss a function means to compute."""

    kind: Literal["info_nce", "nt_xent"]
    symmetric: bool = False
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("info_nce", "nt_xent"):
            raise InputError(f"kind got {self.kind!r}, expected 'info_nce' or 'nt_xent': say which loss is meant")
        if self.kind == "nt_xent" and self.symmetric:
            raise InputError("symmetric got True with kind='nt_xent', which has no directions: leave symmetric out")

    def __str__(self) -> str:
        rows = "rows normalised" if self.normalize else "plain dot products"
        return f"{'symmetric ' if self.symmetric else ''}{self.kind}, {rows}"

    def negatives(self, count: int) -> int:
        """How many negatives an anchor has in a batch of ``count`` instances."""
        return count - 1 if self.kind == "info_nce" else 2 * count - 2

    def prepared(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Both views in float64, on the sphere if that is meant."""
        z1, z2 = (np.asarray(z, dtype=np.float64) for z in (case.z1, case.z2))
        return (unit(z1), unit(z2)) if self.normalize else (z1, z2)


def value(meant: Meant, case: Case) -> float:
    """``mean_i -log( exp(s_i+ / tau) / sum_j exp(s_ij / tau) )``: Wang & Liu 2021, eq. 1; Chen et al. 2020, eq. 1."""
    z1, z2 = meant.prepared(case)
    n, tau = case.count, case.temperature
    if meant.kind == "nt_xent":
        z = np.concatenate([z1, z2])
        return _mean_loss(z, z, [(i + n) % (2 * n) for i in range(2 * n)], tau, without_itself=True)
    one_way = _mean_loss(z1, z2, range(n), tau)
    return (one_way + _mean_loss(z2, z1, range(n), tau)) / 2 if meant.symmetric else one_way


def _mean_loss(
    anchors: np.ndarray, candidates: np.ndarray, positives: Sequence[int], tau: float, without_itself: bool = False
) -> float:
    total = 0.0
    for i, (anchor, positive) in enumerate(zip(anchors, positives, strict=True)):
        logits = [
            float(anchor @ candidate) / tau for j, candidate in enumerate(candidates) if not (without_itself and i == j)
        ]
        largest = max(logits)
        total += largest + math.log(sum(math.exp(logit - largest) for logit in logits))
        total -= float(anchor @ candidates[positive]) / tau
    return total / len(anchors)


def gradients(meant: Meant, case: Case) -> tuple[np.ndarray, np.ndarray, float]:
    """By both views and by the temperature.

    ``dL/dS = (P - positives) / (A tau)`` for A anchors (Wang & Liu 2021, eq. 4), from there to the embeddings by
    S = Z G^T, and through the normalisation by ``(I - z z^T) / norm``.
    """
    z1, z2 = meant.prepared(case)
    n, tau = case.count, case.temperature
    if meant.kind == "nt_xent":
        z = np.concatenate([z1, z2])
        similarities = z @ z.T
        slope = _slope(similarities, np.roll(np.eye(2 * n), n, axis=1), tau, excluded=np.eye(2 * n, dtype=bool))
        g1, g2 = np.split((slope + slope.T) @ z, 2)
    else:
        similarities = z1 @ z2.T
        slope = _slope(similarities, np.eye(n), tau)
        if meant.symmetric:
            slope = (slope + _slope(similarities.T, np.eye(n), tau).T) / 2
        g1, g2 = slope @ z2, slope.T @ z1
    if meant.normalize:
        g1, g2 = (tangent(g, z) for g, z in ((g1, case.z1), (g2, case.z2)))
    return g1, g2, float(-(slope * similarities).sum() / tau)


def _slope(
    similarities: np.ndarray, positive: np.ndarray, tau: float, excluded: np.ndarray | None = None
) -> np.ndarray:
    logits = similarities / tau if excluded is None else np.where(excluded, -np.inf, similarities / tau)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray((probabilities - positive) / (len(similarities) * tau))


def tangent(g: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The gradient by z of a function of the unit rows of z, from the gradient by those rows."""
    z = np.asarray(z, dtype=np.float64)
    length = np.sqrt((z * z).sum(axis=1, keepdims=True))
    u = z / length
    return np.asarray((g - u * (g * u).sum(axis=1, keepdims=True)) / length)
