"""A loss as a function of similarities and temperature, asked by placing embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hypercon.testing.contrastive import definition, placements
from hypercon.testing.contrastive.cases import Case
from hypercon.testing.contrastive.definition import Meant, tangent
from hypercon.testing.contrastive.laws.law import Claims, law, name_of, same_gradients
from hypercon.testing.contrastive.subject import Claim, Subject, between, equal


@law(
    "P20",
    "shift",
    "Adding a number to all similarities of an anchor leaves loss and gradient as they are.",
    "softmax is shift invariant; a shift with a lost axis: AdaptiveMotorControlLab/CEBRA #48",
    gradient="if there is one",
)
def shift(loss: Subject, case: Case) -> Claims:
    base = case.with_views(*loss.meant.prepared(case))
    one_way = loss.meant.kind == "info_nce" and not loss.meant.symmetric
    shifted, factor = placements.with_rows_shifted(base) if one_way else placements.in_a_cone(base)
    yield equal("the loss with similarities shifted", loss.value(shifted), loss.value(base), shifted)
    if loss.has_gradient:
        before, after = loss.gradients(base), loss.gradients(shifted)
        dims = base.z1.shape[1]
        after = after[0][:, :dims] * factor, after[1][:, :dims] * factor
        if loss.meant.normalize:  # the radial part belongs to the other coordinates too
            after = tangent(after[0], base.z1), tangent(after[1], base.z2)
        yield from same_gradients("with similarities shifted", after, before, shifted)


@law(
    "P26",
    "monotone",
    "Raising the similarity of a positive lowers the loss; raising that of a negative raises it.",
    "Wang & Liu 2021, eq. 4",
)
def monotone(loss: Subject, case: Case) -> Claims:
    temperature = max(case.temperature, 0.5)  # where no pair's share is lost in rounding
    similarities, n = placements.gram(case), case.count
    before = loss.value(placements.placed(similarities, temperature))
    for i, j in _pairs(loss.meant, n):
        there = placements.placed(placements.with_similarity_raised(similarities, i, j), temperature)
        after = loss.value(there)
        positive = j == i + n
        sort, direction = ("positive", "less") if positive else ("negative", "more")
        holds = after < before - 1e-10 if positive else after > before + 1e-10
        what = f"the loss with the similarity of the {sort} pair {name_of(i, n)}, {name_of(j, n)} raised by 0.25"
        yield Claim(what, after, f"{direction} than {before:.10g}, which it is without", there, holds)


def _pairs(meant: Meant, n: int) -> Iterator[tuple[int, int]]:
    """Pairs of stacked embeddings whose similarity the loss depends on, at most about a dozen of them."""
    for i in range(min(n, 3)):
        yield from ((i, n + j) for j in range(min(n, 4)))
        if meant.kind == "nt_xent":
            yield from ((i, j) for j in range(i + 1, min(n, 3)))
            yield from ((n + i, n + j) for j in range(i + 1, min(n, 3)))


@law(
    "P27",
    "temperature",
    "Temperature divides similarities and does nothing else: L(S, tau) = L(S / tau, 1), and "
    "dL/dtau = (s_ii - sum_j P_ij s_ij) / tau^2.",
    "Wang & Liu 2021, eq. 1",
)
def temperature(loss: Subject, case: Case) -> Claims:
    similarities = placements.gram(case)
    whole = placements.placed(similarities, case.temperature)
    for k in (0.5, 0.1):
        shrunk = placements.placed(k * similarities + (1 - k) * np.eye(2 * case.count), k * case.temperature)
        yield equal(
            f"the loss with temperature and similarities times {k}", loss.value(shrunk), loss.value(whole), shrunk
        )
    if not loss.meant.normalize:
        root = math.sqrt(case.temperature)
        divided = Case(case.z1 / root, case.z2 / root, 1.0)
        yield equal("the loss of S / tau at temperature 1", loss.value(divided), loss.value(case), divided)
    expected = definition.gradients(loss.meant, case)[2]
    steepness = 1 / case.temperature
    yield equal(
        "the slope of the loss by the temperature, from differences,",
        loss.slope_by_temperature(case),
        expected,
        case,
        within=1e-6,
        scale=steepness,
    )
    if loss.has_temperature_gradient:
        got = loss.temperature_gradient(case)
        yield equal("the gradient by the temperature", got, expected, case, within=1e-8, scale=steepness)


@law(
    "P28",
    "convex",
    "As a function of similarities it is convex: at a midpoint it is at most the mean of the ends.",
    "log-sum-exp is convex",
)
def convex(loss: Subject, case: Case) -> Claims:
    one = placements.gram(case)
    other = placements.gram(case.with_views(case.z1, -case.z2[::-1]))
    ends = [loss.value(placements.placed(s, case.temperature)) for s in (one, other)]
    middle = placements.placed((one + other) / 2, case.temperature)
    yield between("the loss at the midpoint", loss.value(middle), -math.inf, sum(ends) / 2, middle)


@law(
    "P30",
    "candidates",
    "What is no candidate has no say: in NT-Xent an embedding's similarity with itself, in InfoNCE similarities within "
    "a view.",
    "Chen et al. 2020, eq. 1",
    gradient="if there is one",
)
def candidates(loss: Subject, case: Case) -> Claims:
    n = case.count
    if loss.meant.kind == "info_nce":
        similarities = placements.gram(case)
        before = loss.value(placements.placed(similarities, case.temperature))
        for i, j in ((0, 1), (n, n + 1)):
            there = placements.placed(placements.with_similarity_raised(similarities, i, j), case.temperature)
            what = f"the loss with the similarity of {name_of(i, n)} and {name_of(j, n)} raised"
            yield equal(what, loss.value(there), before, there)
        return
    for similarity in (0.0, 0.6):
        there = placements.evenly_similar(n, similarity, case.temperature)
        what = f"the loss where all embeddings have similarity {similarity}, but with themselves,"
        yield equal(what, loss.value(there), math.log(2 * n - 1), there)
        if loss.has_gradient:
            expected = definition.gradients(loss.meant, there)
            yield from same_gradients(
                "where all embeddings are evenly similar", loss.gradients(there), expected[:2], there
            )
    if not loss.meant.normalize:
        # a coordinate of its own changes an embedding's similarity with itself alone
        own = np.column_stack([case.z1, np.arange(n) == 0])
        there = case.with_views(own, np.column_stack([case.z2, np.zeros(n)]))
        yield equal("the loss with z1[0] longer in a direction of its own", loss.value(there), loss.value(case), there)
        if loss.has_gradient:
            g = loss.gradients(there)[0][0, -1]
            yield equal("the gradient by z1[0] in that direction", g, 0.0, there, within=0.0)
