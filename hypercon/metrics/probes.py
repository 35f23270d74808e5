"""What an embedding is worth to a classifier that does little itself: nearest neighbours and a linear probe."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import numpy as np

from hypercon.errors import ConvergenceWarning, InputError
from hypercon.losses.common import onto_sphere
from hypercon.metrics.retrieval import over_rows
from hypercon.metrics.rows import rows_of
from hypercon.validation import check_generator, check_labels, check_positive, check_whole

GAP = 1e-5  # nats above its minimum at which the probe's objective counts as minimised


def knn_accuracy(z: Any, labels: Any, test_z: Any = None, test_labels: Any = None, *, k: int = 5) -> float:
    """Accuracy of a vote among the ``k`` labelled embeddings most similar in direction.

    Parameters
    ----------
    z : array_like, (N, D)
        Labelled embeddings.
    labels : array_like of int, (N,)
    test_z : array_like, (M, D), optional
        Without it, each labelled embedding is judged by the others (leave one out).
    test_labels : array_like of int, (M,), optional
    k : int, default 5
        Votes; a tie goes to the class whose nearest vote is most similar. Of equally similar embeddings the first ones
        vote.

    Returns
    -------
    float
        Between 0 and 1. Always guessing the largest class gives its share. A class that no labelled row has is missed.

    Raises
    ------
    InputError, DtypeError
        Bad embeddings or labels; fewer than two classes; or ``k`` not in 1..N (1..N - 1 when one is left out).

    Examples
    --------
    >>> z = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]])
    >>> knn_accuracy(z, [0, 0, 1, 1], [[2.0, 1.0]], [0], k=1), knn_accuracy(z, [0, 0, 1, 1], k=1)
    (1.0, 1.0)
    """
    k = check_whole(k, "k", least=1)
    leave_out = test_z is None and test_labels is None
    if leave_out:
        test_z, test_labels = z, labels
    elif test_z is None or test_labels is None:
        raise InputError("test_z and test_labels: got one of them, expected both, or neither to leave one out")
    z, labels, test_z, test_labels = _checked(z, labels, test_z, test_labels, directions=True)
    most = len(z) - leave_out
    if k > most:
        raise InputError(f"k got {k}, expected 1 to {most}, the number of labelled embeddings that may vote")
    classes, index = np.unique(labels, return_inverse=True)
    right = np.zeros(len(test_z), dtype=bool)

    def judge(rows: slice, similarities: np.ndarray) -> None:
        if leave_out:
            itself = np.arange(len(similarities))
            similarities[itself, itself + rows.start] = -np.inf
        votes = _votes(index[_nearest(similarities, k)], len(classes))
        right[rows] = classes[votes.argmax(axis=1)] == test_labels[rows]

    over_rows(onto_sphere(test_z), onto_sphere(z), judge)
    return float(right.mean())


def _nearest(similarities: np.ndarray, k: int) -> np.ndarray:
    """For each row the columns of the ``k`` largest entries, largest first; of equal ones the first."""
    count = similarities.shape[1]
    chosen = np.sort(np.argpartition(similarities, count - k, axis=1)[:, count - k :], axis=1)
    least = np.take_along_axis(similarities, chosen, axis=1).min(axis=1, keepdims=True)
    tied = np.flatnonzero((similarities >= least).sum(axis=1) > k)  # more are as near as the last: the first of them
    chosen[tied] = np.sort(np.argsort(-similarities[tied], axis=1, kind="stable")[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(similarities, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _votes(voters: np.ndarray, classes: int) -> np.ndarray:
    """Votes for each class, (M, classes), from the classes of the nearest, (M, k), nearest first."""
    count, k = voters.shape
    votes = np.zeros((count, classes), dtype=np.int64)
    for rank in range(k):
        # a vote counts k + 1; a class's nearest one more the nearer it is, too little to overrule another vote
        voted = np.arange(count), voters[:, rank]
        votes[voted] += k + 1 + np.where(votes[voted] == 0, k - rank, 0)
    return votes


def linear_probe(
    h: Any, labels: Any, test_h: Any, test_labels: Any, *, decay: float = 1e-4, steps: int = 1000
) -> float:
    """Accuracy of multinomial logistic regression on standardised features.

    It minimises the mean cross-entropy plus ``decay / 2`` times the squared norm of the coefficients. That is strongly
    convex, so there is one best probe, without randomness or a rate to tune, and the slope says how far it is: the
    objective at coefficients with slope g is at most ``|g|^2 / (2 decay)`` above its minimum. The search stops where
    that bound is 1e-5 nats.

    Parameters
    ----------
    h : array_like, (N, D)
        Labelled features.
    labels : array_like of int, (N,)
    test_h : array_like, (M, D)
    test_labels : array_like of int, (M,)
    decay : float, default 1e-4
        Positive.
    steps : int, default 1000
        At most so many steps of L-BFGS (Liu & Nocedal 1989), preconditioned with the features' covariance.

    Returns
    -------
    float
        Between 0 and 1. Always guessing the largest class gives its share. A class that no labelled row has is missed.

    Raises
    ------
    InputError, DtypeError
        Bad features or labels; fewer than two classes; ``decay`` is not positive or ``steps`` less than 1.

    Warns
    -----
    ConvergenceWarning
        ``steps`` were not enough; it says how far the objective may be from its minimum.

    Examples
    --------
    >>> h = np.array([[0.0, 1.0], [0.2, 1.0], [1.0, 0.0], [1.0, 0.2]])
    >>> linear_probe(h, [0, 0, 1, 1], h, [0, 0, 1, 1])
    1.0
    """
    decay, steps = check_positive(decay, "decay", "1e-4"), check_whole(steps, "steps", least=1)
    h, labels, test_h, test_labels = _checked(h, labels, test_h, test_labels, directions=False)
    classes, index = np.unique(labels, return_inverse=True)
    centre, spread = h.mean(axis=0), h.std(axis=0)
    spread = np.where(spread > 1e-6 * (np.abs(centre) + 1e-30), spread, np.inf)  # a constant feature tells nothing
    x, test_x = (np.concatenate([(part - centre) / spread, np.ones((len(part), 1))], axis=1) for part in (h, test_h))
    w, gap = _fit_softmax(x, np.eye(len(classes))[index], decay, steps)
    if not gap <= GAP:
        warnings.warn(
            f"linear_probe: after {steps} steps the objective may be {gap:.1g} nats above its minimum; raise steps, or "
            "decay, which makes the search shorter",
            ConvergenceWarning,
            stacklevel=2,
        )
    return float((classes[(test_x @ w).argmax(axis=1)] == test_labels).mean())


def _fit_softmax(x: np.ndarray, target: np.ndarray, decay: float, steps: int) -> tuple[np.ndarray, float]:
    """Coefficients that minimise the probe's objective, and a bound on how far above its minimum they leave it."""

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ w
        logits -= logits.max(axis=1, keepdims=True)
        lost = -float((logits * target).sum())
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1, keepdims=True)
        lost += float(np.log(sums).sum())
        slope = x.T @ (logits / sums - target) / len(x) + decay * w
        return lost / len(x) + decay / 2 * float((w * w).sum()), slope

    # the curvature is at most this matrix for every class (Böhning 1992), wherever the search is: what makes it long,
    # features that say nearly the same, is known beforehand
    nearly = np.linalg.inv(x.T @ x / (2 * len(x)) + decay * np.eye(x.shape[1]))
    w = np.zeros((x.shape[1], target.shape[1]))
    value, slope = objective(w)
    recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=10)
    for _ in range(steps):
        if _gap(slope, decay) <= GAP:
            break
        direction = _downhill(slope, recent, nearly)
        descent, length = float((direction * slope).sum()), 1.0
        ahead, slope_ahead = objective(w + direction)
        # a step must gain a fraction of what the slope promises, or as little as rounding may hide
        while not ahead <= value + 1e-4 * length * descent + 1e-15 * value:
            length /= 2
            if length < 1e-12:  # nothing is left to gain in these digits
                return w, _gap(slope, decay)
            ahead, slope_ahead = objective(w + length * direction)
        recent.append((length * direction, slope_ahead - slope))
        w, value, slope = w + length * direction, ahead, slope_ahead
    return w, _gap(slope, decay)


def _gap(slope: np.ndarray, decay: float) -> float:
    return float((slope * slope).sum()) / (2 * decay)


def _downhill(slope: np.ndarray, recent: deque[tuple[np.ndarray, np.ndarray]], nearly: np.ndarray) -> np.ndarray:
    """Minus the slope times an inverse curvature: ``nearly``, mended by what the recent steps have shown (L-BFGS).

    ``recent`` holds steps and the changes of slope along them, whose product is positive in a strongly convex function.
    """
    direction, shares = -slope, []
    for step, change in reversed(recent):
        shares.append(float((step * direction).sum()) / float((step * change).sum()))
        direction = direction - shares[-1] * change
    direction = nearly @ direction
    if recent:
        step, change = recent[-1]
        direction *= float((step * change).sum()) / float((change * (nearly @ change)).sum())
    for (step, change), share in zip(recent, reversed(shares), strict=True):
        direction = direction + (share - float((change * direction).sum()) / float((step * change).sum())) * step
    return direction


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


def _checked(z: Any, labels: Any, test_z: Any, test_labels: Any, *, directions: bool) -> tuple[np.ndarray, ...]:
    """Embeddings as float64 arrays of one width, and their labels: at least two classes."""
    z = rows_of(z, "z", directions=directions, least=1)
    test_z = rows_of(test_z, "test_z", directions=directions, least=1)
    if z.shape[1] != test_z.shape[1]:
        raise InputError(
            f"z and test_z have {z.shape[1]} and {test_z.shape[1]} dimensions, expected one encoder's output"
        )
    labels, test_labels = check_labels(labels, len(z)), check_labels(test_labels, len(test_z), "test_labels")
    if (labels == labels[0]).all():
        raise InputError(f"labels: all are {labels[0]}, expected at least two classes to tell apart")
    return z, labels, test_z, test_labels
