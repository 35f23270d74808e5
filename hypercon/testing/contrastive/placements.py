"""Embeddings placed so that their similarities are what a property is about.

A loss takes embeddings, while most of what is known of it is said of similarities: raise one, add a number to a row,
take a midpoint. On the sphere that is done by choosing a Gram matrix with ones on its diagonal and factoring it, or by
giving every embedding coordinates of its own.
"""

from __future__ import annotations

import numpy as np

from hypercon.testing.contrastive.cases import Case, unit


def gram(case: Case) -> np.ndarray:
    """All similarities of both views stacked, (2N, 2N), pulled halfway to the identity.

    Halfway, so that single similarities may be moved by less than 1/2 and the matrix is still one of unit vectors.
    """
    z = unit(np.concatenate([case.z1, case.z2]))
    return np.asarray(0.5 * (z @ z.T) + 0.5 * np.eye(len(z)))


def placed(similarities: np.ndarray, temperature: float) -> Case:
    """Unit vectors in 2N dimensions with just these similarities."""
    z = np.linalg.cholesky(similarities)
    half = len(z) // 2
    return Case(z[:half].copy(), z[half:].copy(), temperature)


def with_similarity_raised(similarities: np.ndarray, i: int, j: int, by: float = 0.25) -> np.ndarray:
    """The same Gram matrix but for one pair."""
    changed = similarities.copy()
    changed[i, j] += by
    if i != j:
        changed[j, i] += by
    return changed


def evenly_similar(count: int, similarity: float, temperature: float) -> Case:
    """2N unit vectors of which any two have the same similarity, in [0, 1)."""
    return placed((1 - similarity) * np.eye(2 * count) + similarity, temperature)


def with_rows_shifted(case: Case) -> tuple[Case, np.ndarray]:
    """Add another number to each row of the similarities of view 1 with view 2, and halve-root them all alike.

    Row i of view 1 becomes (a z, b_i, c_i) and row j of view 2 becomes (a z, a, 0) with a = sqrt(1/2): s becomes
    ``s / 2 + a b_i``, and c_i keeps unit rows unit rows. Halving is undone by the temperature, so a softmax over each
    row is the same as before.

    Returns
    -------
    Case, numpy.ndarray
        The case, and a: the factor between the coordinates of both cases, to compare gradients by.
    """
    a = np.sqrt(0.5)
    shift = 0.6 * np.cos(2.0 * np.arange(case.count))
    rest = np.sqrt(0.5 - shift**2)
    ones = np.ones(case.count)
    z1 = np.column_stack([a * case.z1, shift, rest])
    z2 = np.column_stack([a * case.z2, a * ones, 0 * ones])
    return Case(z1, z2, case.temperature / 2), a


def in_a_cone(case: Case) -> tuple[Case, np.ndarray]:
    """Add one number to all similarities, within a view and between views: every z becomes (a z, a). As above."""
    a = np.sqrt(0.5)
    ones = np.ones((case.count, 1))
    z1, z2 = (np.hstack([a * z, a * ones]) for z in (case.z1, case.z2))
    return Case(z1, z2, case.temperature / 2), a


def turned(z: np.ndarray) -> np.ndarray:
    """Every row turned by one rotation, the same for all arrays of as many dimensions."""
    d = z.shape[1]
    basis, _ = np.linalg.qr(np.cos(np.arange(1.0, d * d + 1).reshape(d, d) ** 1.5))
    return np.asarray(z @ basis)


def mirrored(z: np.ndarray) -> np.ndarray:
    """Every row reflected in one plane: the similarities of z with its mirror image are a symmetric matrix."""
    normal = np.cos(np.arange(z.shape[1]) + 1.0)
    normal /= np.sqrt(normal @ normal)
    return np.asarray(z - 2 * np.outer(z @ normal, normal))
