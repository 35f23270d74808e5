"""What an embedding is worth to a classifier that does little itself: nearest neighbours and a linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.errors import InputError
from hypercon.losses.common import onto_sphere
from hypercon.metrics.rows import rows_of
from hypercon.validation import check_generator, check_labels, check_whole


def knn_accuracy(z: Any, labels: Any, test_z: Any, test_labels: Any, *, k: int = 5) -> float:
    """Accuracy of a vote among the ``k`` labelled embeddings most similar in direction.

    Parameters
    ----------
    z : array_like, (N, D)
        Labelled embeddings.
    labels : array_like of int, (N,)
    test_z : array_like, (M, D)
    test_labels : array_like of int, (M,)
    k : int, default 5
        Votes; a tie goes to the class whose nearest vote is most similar.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError, DtypeError
        Bad embeddings or labels, or ``k`` not in 1..N.

    Examples
    --------
    >>> z = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> knn_accuracy(z, [0, 1], z, [0, 1], k=1)
    1.0
    """
    z, labels, test_z, test_labels = _checked(z, labels, test_z, test_labels)
    k = check_whole(k, "k", least=1)
    if k > len(z):
        raise InputError(f"k got {k}, expected 1 to {len(z)}, the number of labelled embeddings")
    classes, index = np.unique(labels, return_inverse=True)
    similarities = onto_sphere(test_z) @ onto_sphere(z).T
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(test_z), len(classes)), dtype=np.int64)
    for rank in range(k):
        # a vote counts k + 1; a class's nearest one more the nearer it is, too little to overrule another vote
        voted = np.arange(len(test_z)), index[nearest[:, rank]]
        votes[voted] += k + 1 + np.where(votes[voted] == 0, k - rank, 0)
    return float((classes[votes.argmax(axis=1)] == test_labels).mean())


def linear_probe(h: Any, labels: Any, test_h: Any, test_labels: Any, *, decay: float = 1e-4, steps: int = 300) -> float:
    """Accuracy of multinomial logistic regression on standardised features.

    Parameters
    ----------
    h : array_like, (N, D)
        Labelled features.
    labels : array_like of int, (N,)
    test_h : array_like, (M, D)
    test_labels : array_like of int, (M,)
    decay : float, default 1e-4
        Weight of the squared norm of the coefficients.
    steps : int, default 300
        Steps of accelerated gradient descent (Nesterov 1983) at the rate that the features' largest singular value
        allows: no rate to tune and no randomness.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError, DtypeError
        Bad features or labels.

    Examples
    --------
    >>> h = np.array([[0.0, 1.0], [0.2, 1.0], [1.0, 0.0], [1.0, 0.2]])
    >>> linear_probe(h, [0, 0, 1, 1], h, [0, 0, 1, 1])
    1.0
    """
    h, labels, test_h, test_labels = _checked(h, labels, test_h, test_labels, directions=False)
    classes, index = np.unique(labels, return_inverse=True)
    centre, spread = h.mean(axis=0), h.std(axis=0)
    spread = np.where(spread > 1e-6 * (np.abs(centre) + 1e-30), spread, np.inf)  # a constant feature tells nothing
    x, test_x = ((np.concatenate([(part - centre) / spread, np.ones((len(part), 1))], axis=1)) for part in (h, test_h))
    target = np.eye(len(classes))[index]
    # the softmax's curvature is at most 1/2, so this rate cannot overshoot
    rate = 1 / (0.5 * np.linalg.norm(x.T @ x / len(x), 2) + decay)
    w = ahead = np.zeros((x.shape[1], len(classes)))
    for step in range(steps):
        logits = x @ ahead
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        before, w = w, ahead - rate * (x.T @ (p - target) / len(x) + decay * ahead)
        ahead = w + step / (step + 3) * (w - before)
    return float((classes[(test_x @ w).argmax(axis=1)] == test_labels).mean())


def few_labels(labels: Any, per_class: int, *, rng: np.random.Generator) -> np.ndarray:
    """Indices of ``per_class`` random members of every class, for accuracies with few labels.

    Parameters
    ----------
    labels : array_like of int, (N,)
    per_class : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int
        A class with fewer members gives all it has.

    Raises
    ------
    InputError, DtypeError
        ``per_class`` is less than 1, or the labels are no row of whole numbers.

    Examples
    --------
    >>> few_labels([0, 0, 0, 1], 2, rng=np.random.default_rng(0)).tolist()
    [2, 0, 3]
    """
    per_class, rng = check_whole(per_class, "per_class", least=1), check_generator(rng)
    array = check_labels(labels, len(labels))
    return np.concatenate([rng.permutation(np.flatnonzero(array == c))[:per_class] for c in np.unique(array)])


def _checked(z: Any, labels: Any, test_z: Any, test_labels: Any, directions: bool = True) -> tuple[np.ndarray, ...]:
    """Embeddings as float64 arrays of one width, and their labels."""
    z, test_z = (rows_of(part, name, directions=directions, least=1) for part, name in ((z, "z"), (test_z, "test_z")))
    if z.shape[1] != test_z.shape[1]:
        raise InputError(
            f"z and test_z have {z.shape[1]} and {test_z.shape[1]} dimensions, expected one encoder's output"
        )
    return z, check_labels(labels, len(z)), test_z, check_labels(test_labels, len(test_z), "test_labels")
