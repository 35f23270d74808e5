"""What leaves a loss as it is: nothing here needs a second implementation to compare with."""

from __future__ import annotations

import math

import numpy as np

from hypercon.testing.contrastive import placements
from hypercon.testing.contrastive.cases import Case, unit
from hypercon.testing.contrastive.laws.law import Claims, law, of_rows_on_the_sphere, same_gradients
from hypercon.testing.contrastive.subject import Subject, between, equal
from hypercon.testing.layouts import laid_out


@law(
    "P0",
    "pure",
    "It returns one real number, the same again, whatever the memory layout, and spoils no input.",
    "NumPy",
)
def pure(loss: Subject, case: Case) -> Claims:
    first = loss.value(case)
    yield between("the loss", first, -math.inf, math.inf, case)
    yield equal("the loss of the same input, asked again", loss.value(case), first, case)
    elsewhere = laid_out(case.z1, "F"), laid_out(case.z2.T, "strided").T
    got = loss.number(loss.call_on(loss.functions[0], case, *elsewhere), case)
    yield equal("the loss of the same input, laid out otherwise in memory", got, first, case)
    for function in loss.functions:
        before = case.z1.copy(), case.z2.copy()
        loss.call_on(function, case, *before)
        for name, z, same in zip(("z1", "z2"), before, (case.z1, case.z2), strict=True):
            yield equal(f"{name} after the call", z, same, case, within=0.0)


@law(
    "P15",
    "unit rows",
    "Only directions count: rows put onto the unit sphere beforehand give the same loss.",
    "Wang & Isola 2020, section 3",
    silent=of_rows_on_the_sphere,
)
def unit_rows(loss: Subject, case: Case) -> Claims:
    expected = loss.value(case)
    for name, z1, z2 in (("z1", unit(case.z1), case.z2), ("z2", case.z1, unit(case.z2))):
        there = case.with_views(z1, z2)
        yield equal(f"the loss with the rows of {name} on the sphere", loss.value(there), expected, there)


@law(
    "P16",
    "tangent gradient",
    "The gradient by a row is orthogonal to the row: <z_i, dL/dz_i> = 0.",
    "derivative of P17 by the scale",
    gradient="needed",
    silent=of_rows_on_the_sphere,
)
def tangent_gradient(loss: Subject, case: Case) -> Claims:
    for name, z, g in zip(("z1", "z2"), (case.z1, case.z2), loss.gradients(case), strict=True):
        radial = (g * z).sum(axis=1)
        yield equal(
            f"<row, gradient> for each row of {name}", radial, 0 * radial, case, scale=1 / case.temperature / case.count
        )


@law(
    "P17",
    "scale",
    "A row times a > 0 leaves the loss as it is and divides the gradient by that row by a.",
    "Wang & Isola 2020, section 3",
    silent=of_rows_on_the_sphere,
    gradient="if there is one",
)
def scale(loss: Subject, case: Case) -> Claims:
    a = 2.0 ** (np.arange(case.count)[:, None] % 4 - 1)  # powers of two: scaling itself rounds nothing
    longer = case.with_views(case.z1 * a, case.z2 * a[::-1])
    yield equal("the loss with longer and shorter rows", loss.value(longer), loss.value(case), longer)
    if loss.has_gradient:
        g1, g2 = loss.gradients(case)
        yield from same_gradients(
            "with longer and shorter rows", loss.gradients(longer), (g1 / a, g2 / a[::-1]), longer
        )


@law(
    "P18",
    "cosines",
    "Similarities are inner products: bounded by the lengths, unchanged when all embeddings turn together, and "
    "symmetric for views that mirror each other.",
    "Cauchy-Schwarz",
)
def cosines(loss: Subject, case: Case) -> Claims:
    there = loss.value(case)
    largest = max(float((z * z).sum(axis=1).max()) for z in loss.meant.prepared(case))
    lead, negatives = 2 * largest / case.temperature, loss.meant.negatives(case.count)
    limits = float(np.logaddexp(0, math.log(negatives) - lead)), float(np.logaddexp(0, math.log(negatives) + lead))
    yield between("the loss, whose similarities have these bounds,", there, *limits, case)
    turned = case.with_views(placements.turned(case.z1), placements.turned(case.z2))
    yield equal("the loss of embeddings turned together", loss.value(turned), there, turned)
    mirror = case.with_views(case.z1, placements.mirrored(case.z1))
    swapped = case.with_views(mirror.z2, mirror.z1)
    yield equal("the loss of a batch's mirror image with the batch", loss.value(swapped), loss.value(mirror), swapped)


@law(
    "P21",
    "permutation",
    "Permuting the instances of both views together leaves the loss as it is and permutes the gradient.",
    "Wang & Liu 2021, figure 1",
    gradient="if there is one",
)
def permutation(loss: Subject, case: Case) -> Claims:
    for name, order in (("reversed", np.arange(case.count)[::-1]), ("rolled", np.roll(np.arange(case.count), 1))):
        permuted = case.with_views(case.z1[order], case.z2[order])
        yield equal(f"the loss of {name} instances", loss.value(permuted), loss.value(case), permuted)
        if loss.has_gradient:
            g1, g2 = loss.gradients(case)
            yield from same_gradients(
                f"of {name} instances", loss.gradients(permuted), (g1[order], g2[order]), permuted
            )


@law(
    "P22",
    "swap",
    "Swapping the views leaves the loss as it is and swaps the gradients.",
    "Radford et al. 2021, figure 3; Chen et al. 2020, algorithm 1",
    silent=lambda meant: (
        "" if meant.kind == "nt_xent" or meant.symmetric else "one-directional InfoNCE: swapped views are another loss"
    ),
    gradient="if there is one",
)
def swap(loss: Subject, case: Case) -> Claims:
    swapped = case.with_views(case.z2, case.z1)
    yield equal("the loss of swapped views", loss.value(swapped), loss.value(case), swapped)
    if loss.has_gradient:
        yield from same_gradients("of swapped views", loss.gradients(swapped), loss.gradients(case)[::-1], swapped)
