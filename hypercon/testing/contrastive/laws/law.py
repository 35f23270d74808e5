"""What a property is, and how one is entered into the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hypercon.testing.contrastive.cases import Case
from hypercon.testing.contrastive.definition import Meant
from hypercon.testing.contrastive.subject import Claim, Subject, equal

Claims = Iterator[Claim]


@dataclass(frozen=True)
class Law:
    """A property: what it states, who says so, and when it has nothing to say.

    ``claims`` takes the loss and a case and yields claims; the first that does not hold is the failure.
    """

    number: str
    name: str
    statement: str
    source: str
    claims: Callable[[Subject, Case], Claims]
    gradient: Literal["needed", "if there is one", "no"]
    silent: Callable[[Meant], str]  # why the law says nothing of the loss that is meant, or ""


LAWS: list[Law] = []


def law(
    number: str,
    name: str,
    statement: str,
    source: str,
    *,
    gradient: Literal["needed", "if there is one", "no"] = "no",
    silent: Callable[[Meant], str] = lambda meant: "",
) -> Callable[[Callable[[Subject, Case], Claims]], Callable[[Subject, Case], Claims]]:
    """Enter a function from a loss and a case to claims into the list of laws."""

    def enter(claims: Callable[[Subject, Case], Claims]) -> Callable[[Subject, Case], Claims]:
        LAWS.append(Law(number, name, statement, source, claims, gradient, silent))
        return claims

    return enter


def of_rows_on_the_sphere(meant: Meant) -> str:
    """For laws of normalised rows: why they say nothing of a loss that takes rows as they are."""
    return "" if meant.normalize else "normalize=False: rows are meant to be taken as they are"


def same_gradients(
    where: str, got: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray], case: Case
) -> Claims:
    """Gradients by both views agree, relative to the size that gradients have at this temperature."""
    scale = 1e-3 / case.temperature / case.count
    for name, g, e in zip(("z1", "z2"), got, expected, strict=True):
        yield equal(f"the gradient by {name} {where}".rstrip(), g, e, case, within=1e-8, scale=scale)


def name_of(i: int, count: int) -> str:
    """What users call row i of both views stacked."""
    return f"z1[{i}]" if i < count else f"z2[{i - count}]"
