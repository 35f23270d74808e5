"""What the definition of a loss says: its values, its derivatives, and its limits."""

from __future__ import annotations

import math

import numpy as np

from hypercon.testing.contrastive import definition
from hypercon.testing.contrastive.cases import Case, duplicated
from hypercon.testing.contrastive.laws.law import Claims, law, same_gradients
from hypercon.testing.contrastive.subject import CallError, Claim, Subject, between, equal


@law(
    "P19",
    "chance",
    "It is at least 0, and the logarithm of the number of candidates when all embeddings coincide, with gradient 0.",
    "Wang & Liu 2021, eq. 1",
    gradient="if there is one",
)
def chance(loss: Subject, case: Case) -> Claims:
    yield between("the loss", loss.value(case), 0.0, math.inf, case)
    row = np.repeat(case.z1[:1], case.count, axis=0)
    collapsed = case.with_views(row, row.copy())
    expected = math.log(1 + loss.meant.negatives(case.count))
    yield equal("the loss of coinciding embeddings", loss.value(collapsed), expected, collapsed)
    if loss.has_gradient:
        yield from same_gradients("of coinciding embeddings", loss.gradients(collapsed), (0 * row, 0 * row), collapsed)


@law(
    "P23",
    "definition",
    "It equals its definition written in loops, and its gradient (of every order asked) is that of its values.",
    "Wang & Liu 2021, eq. 1; Chen et al. 2020, eq. 1",
    gradient="if there is one",
)
def as_defined(loss: Subject, case: Case) -> Claims:
    yield equal("the loss", loss.value(case), definition.value(loss.meant, case), case)
    if not loss.has_gradient:
        return
    rng = np.random.default_rng(0)
    d, e = (tuple(rng.normal(size=z.shape) for z in (case.z1, case.z2)) for _ in range(2))
    steepness = 1 / case.temperature / min(float(np.sqrt((z * z).sum(axis=1)).min()) for z in (case.z1, case.z2))

    def along(direction: tuple[np.ndarray, ...], there: Case) -> float:
        return float(sum((g * x).sum() for g, x in zip(loss.gradients(there), direction, strict=True)))

    measured = loss.slope_of(loss.value, case, (d[0], d[1]))
    yield equal(
        "the slope by the gradient, against differences of the loss,",
        along(d, case),
        measured,
        case,
        within=1e-7,
        scale=1e-2 * steepness,
    )
    if loss.has_second_order:
        measured = loss.slope_of(lambda there: along(d, there), case, (e[0], e[1]))
        got = loss.second_derivative(case, (d[0], d[1]), (e[0], e[1]))
        name = "the second derivative, against differences of the gradient,"
        yield equal(name, got, measured, case, within=1e-7, scale=1e-2 * steepness**2)


@law(
    "P24",
    "analytic gradient",
    "dL/dS = (softmax - positives) / (anchors tau), carried to the embeddings through the normalisation.",
    "Wang & Liu 2021, eq. 4",
    gradient="needed",
)
def analytic_gradient(loss: Subject, case: Case) -> Claims:
    yield from same_gradients("", loss.gradients(case), definition.gradients(loss.meant, case)[:2], case)


@law(
    "P25",
    "stability",
    "It is finite and right for similarities up to 1e4 and a temperature of 1e-3, in float32 too; a perfect match "
    "gives 0.",
    "Lightning-AI/lightning-bolts #320; emadeldeen24/TS-TCC #25",
    gradient="if there is one",
)
def stability(loss: Subject, case: Case) -> Claims:
    longest = max(float(np.sqrt((z * z).sum(axis=1)).max()) for z in (case.z1, case.z2))
    one_hot = np.eye(case.count)
    for dtype in (np.float64, np.float32):
        name, eps = np.dtype(dtype).name, float(np.finfo(dtype).eps)
        far, match, miss = (
            Case(np.asarray(z1, dtype), np.asarray(z2, dtype), 1e-3)
            for z1, z2 in (
                (case.z1 * 100 / longest, case.z2 * 100 / longest),
                (one_hot, one_hot),
                (one_hot, np.roll(one_hot, 1, axis=0)),
            )
        )
        for what, there in (("a batch", far), ("a perfect match", match), ("a complete miss", miss)):
            z1, z2 = loss.meant.prepared(there)
            steps = 200 * eps * max(1.0, float(np.abs(z1).max() * np.abs(z2).max()) * z1.shape[1] / there.temperature)
            expected = definition.value(loss.meant, there)
            got = loss.value(there)
            yield equal(f"the loss of {what} in {name}", got, expected, there, within=steps / max(1.0, expected))
            if loss.has_gradient:
                for view, g in zip(("z1", "z2"), loss.gradients(there), strict=True):
                    finite = bool(np.isfinite(g).all())
                    yield Claim(f"the gradient by {view} of {what} in {name}", g, "finite numbers", there, finite)
                    if there is match:
                        yield equal(f"the gradient by {view} of {what} in {name}", g, 0 * g, there, within=1e-6)


@law(
    "P29",
    "degenerate",
    "An instance twice costs at least log 2 for each of both; one instance alone gives 0 or a ValueError, a row of "
    "zeros a number or a ValueError: never nan.",
    "HIPS/autograd #151; google-deepmind/optax #946",
    gradient="if there is one",
)
def degenerate(loss: Subject, case: Case) -> Claims:
    twice = case.with_views(*duplicated(case.z1, case.z2))
    got = loss.value(twice)
    # whichever of the two is its positive, the other is as near
    yield between("the loss with an instance twice", got, 2 / case.count * math.log(2), math.inf, twice)
    if loss.has_gradient:
        for name, g in zip(("z1", "z2"), loss.gradients(twice), strict=True):
            held = bool(np.isfinite(g).all())
            yield Claim(f"the gradient by {name} with an instance twice", g, "finite numbers", twice, held)
    alone = case.with_views(case.z1[:1], case.z2[:1])
    zero = case.with_views(case.z1 * (np.arange(case.count) > 0)[:, None], case.z2)
    for what, there in (("one instance alone", alone), ("a row of zeros", zero)):
        try:
            got = loss.value(there)
        except CallError as failed:
            if not isinstance(failed.error, ValueError):
                raise
            continue
        if there is alone:
            yield equal(f"the loss of {what}", got, 0.0, there)
        yield Claim(f"the loss of {what}", got, "a finite number, or a ValueError", there, bool(np.isfinite(got)))
        if loss.has_gradient:
            for name, g in zip(("z1", "z2"), loss.gradients(there), strict=True):
                held = bool(np.isfinite(g).all()) and (there is zero or bool((np.abs(g) < 1e-9).all()))
                yield Claim(
                    f"the gradient by {name} of {what}", g, "zeros" if there is alone else "finite", there, held
                )
