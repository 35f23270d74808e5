"""Embeddings in the plane so that neighbours stay neighbours (t-SNE), for a picture as in the paper."""

from __future__ import annotations

import math

import numpy as np


def neighbour_map(z: np.ndarray, *, perplexity: float = 30.0, steps: int = 300) -> np.ndarray:
    """A plane in which each point keeps its neighbours of the sphere; distances between clusters mean little.

    Exact t-SNE (van der Maaten & Hinton 2008) from the two leading principal components: no randomness. N^2 memory.

    Parameters
    ----------
    z : ndarray, (N, D)
    perplexity : float
        How many neighbours each point counts.
    steps : int

    Returns
    -------
    ndarray, (N, 2)
    """
    z = np.asarray(z, dtype=np.float64)
    count = len(z)
    squares = np.maximum(0, ((z**2).sum(axis=1)[:, None] + (z**2).sum(axis=1) - 2 * z @ z.T))
    close = _affinities(squares, min(perplexity, (count - 1) / 3))
    close = np.maximum((close + close.T) / (2 * count), 1e-12)
    centred = z - z.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    at = left[:, :2] * values[:2]
    at *= 1e-2 / at.std()
    speed, gain = np.zeros_like(at), np.ones_like(at)
    for step in range(steps):
        early = step < steps // 4  # neighbours are pulled together harder at first, so that clusters form
        kernel = 1 / (1 + _squares(at))
        np.fill_diagonal(kernel, 0)
        pull = (close * (4.0 if early else 1.0) - kernel / kernel.sum()) * kernel
        slope = 4 * (pull.sum(axis=1)[:, None] * at - pull @ at)
        gain = np.where(np.sign(slope) == np.sign(speed), gain * 0.8, gain + 0.2).clip(0.01)
        speed = (0.5 if early else 0.8) * speed - count / 12 * gain * slope
        at = at + speed - (at + speed).mean(axis=0)
    return at


def _squares(at: np.ndarray) -> np.ndarray:
    lengths = (at**2).sum(axis=1)
    return np.maximum(0, lengths[:, None] + lengths - 2 * at @ at.T)


def _affinities(squares: np.ndarray, perplexity: float) -> np.ndarray:
    """For each point the Gaussian weights of the others, as narrow as gives them this perplexity."""
    count = len(squares)
    others = squares[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    others = others - others.min(axis=1, keepdims=True)
    low, high = np.full((count, 1), 1e-6), np.full((count, 1), 1e6)
    for _ in range(60):
        sharpness = np.sqrt(low * high)
        weights = np.exp(-sharpness * others)
        weights /= weights.sum(axis=1, keepdims=True)
        entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=1, keepdims=True)
        flat = entropy > math.log(perplexity)
        low, high = np.where(flat, sharpness, low), np.where(flat, high, sharpness)
    spread = np.zeros((count, count))
    spread[~np.eye(count, dtype=bool)] = weights.ravel()
    return spread
