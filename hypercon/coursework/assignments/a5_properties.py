"""Assignment 5: students write the properties. Their tests run in the worker; what they test stays with the judge.

The tests receive a function. Behind it stands a question to the judge, who computes the loss of that turn: there is
nothing in the worker to be looked at, and turns have no names. Right losses come among the wrong ones, in an order
drawn anew, and tests that fail one of them earn nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hypercon.coursework.assignments.a5_faults import FAULTS, RIGHT, Fault, Loss
from hypercon.coursework.exercise import Arguments, Assignment, Exercise, Limits
from hypercon.coursework.inside.frames import Frame, FrameError
from hypercon.coursework.inside.serve import verdict
from hypercon.coursework.judge import Outcome, StudentError
from hypercon.coursework.sandbox import WorkerError
from hypercon.coursework.text import one_line

ROWS, ENTRIES = 128, 4096  # the judge computes a matrix of all pairs
MOST_FAILURES = 3
FAMILIES = {
    "sphere": "What may happen to a row, or to all rows together, without any effect on a cosine?",
    "temperature": "What does the loss of one batch at tau say of its loss at 2 tau? And when tau is very small, or 0?",
    "candidates": "Move one candidate alone: whose loss may change, and in which direction?",
    "mean": "Join batches, repeat them, exchange the views; and compute a batch of two by hand.",
    "numbers": "Try a temperature of 0.001, positives that are opposite, and entries that are not numbers.",
}


class StudentTests(Protocol):
    """A student's tests, which say "passed" or what failed."""

    def run(self, loss: Loss) -> str:
        """All of them on one loss, until one fails."""


@dataclass(frozen=True)
class LocalTests:
    """One's own tests, in this process."""

    names: dict[str, Any]

    def run(self, loss: Loss) -> str:
        """As `StudentTests.run`."""

        def info_nce(z1: Any, z2: Any, *, temperature: Any) -> float:
            told = answer(loss, Frame("ask", values=(z1, z2, temperature)))
            if told.kind == "refusal":
                raise ValueError(told.text)
            return float(told.values[0])

        return verdict(self.names, info_nce)


class WorkerTests:
    """Asked through the judge's channel."""

    def __init__(self, student: Any):
        self._student = student

    def run(self, loss: Loss) -> str:
        """Answer what the tests ask of ``loss``, until they have a verdict."""
        worker = self._student.worker()
        frame = self._student.ask("test")
        while frame.kind == "ask":
            try:
                worker.send(answer(loss, frame))
                frame = worker.receive()
            except (WorkerError, FrameError) as error:
                self._student.close()
                raise StudentError(str(error)) from None
        if frame.kind == "error":
            raise StudentError(f"it raised {one_line(frame.text)}")
        return one_line(frame.text)


def answer(loss: Loss, question: Frame) -> Frame:
    """What the loss has to say to a question of the tests, which may ask anything."""
    try:
        a, b = (np.atleast_1d(np.asarray(value, np.float64)) for value in question.values[:2])
        (tau,) = (np.asarray(value, np.float64) for value in question.values[2:])
        if max(a.size, b.size) > ENTRIES or max(len(a), len(b)) > ROWS:
            raise ValueError(f"at most {ROWS} rows and {ENTRIES} entries are taken")
        if tau.ndim:
            raise ValueError("the temperature is one number here")
        with np.errstate(all="ignore"):
            return Frame("answer", question.nonce, "", 0, (float(loss(a, b, float(tau))),))
    except ValueError as error:
        return Frame("refusal", question.nonce, str(error))


def grade_properties(assignment: Assignment, student: Any, rng: np.random.Generator) -> tuple[Outcome, ...]:
    """Points for every fault that the tests find, if they find none in what is right."""
    return judged(assignment, WorkerTests(student), rng)


def judged(
    assignment: Assignment, tests: StudentTests, rng: np.random.Generator, faults: Sequence[Fault] = FAULTS
) -> tuple[Outcome, ...]:
    """As `grade_properties`, for tests wherever they run, on some of the faults."""
    turns = [*((fault, fault.loss) for fault in faults), *((None, loss) for loss in (*RIGHT, *RIGHT))]
    found: set[Fault] = set()
    failures = 0
    for place in rng.permutation(len(turns)):
        fault, loss = turns[place]
        try:
            said = tests.run(loss)
        except StudentError as error:
            failures += 1
            if fault is None or failures == MOST_FAILURES:
                return _nothing(assignment, f"the tests did not come to a verdict: {error}")
            continue
        if said == "none":
            return _nothing(assignment, "there is no function whose name begins with test_")
        if said != "passed" and fault is None:
            return _nothing(assignment, f"the tests fail a loss that is right: {said.removeprefix('failed ')}")
        if said != "passed" and fault is not None:
            found.add(fault)
    return tuple(_outcome(exercise, faults, found) for exercise in assignment.exercises)


def _nothing(assignment: Assignment, reason: str) -> tuple[Outcome, ...]:
    return tuple(Outcome(e.id, e.name, e.points, reason=reason, hint=e.hint) for e in assignment.exercises)


def _outcome(exercise: Exercise, faults: Sequence[Fault], found: set[Fault]) -> Outcome:
    family = [fault for fault in faults if fault.family == exercise.name]
    missed = [fault for fault in family if fault not in found]
    score = exercise.points * (1 - len(missed) / len(family)) if family else 0.0
    if not missed:
        return Outcome(exercise.id, exercise.name, exercise.points, score, "")
    reason = f"{len(family) - len(missed)} of {len(family)} faults found; one that was not: {missed[0].nature}"
    return Outcome(exercise.id, exercise.name, exercise.points, score, reason, hint=exercise.hint)


def _no_arguments(rng: np.random.Generator, size: int) -> Arguments:
    return ()


A5 = Assignment(
    "a5",
    "Write the properties",
    tuple(
        Exercise(
            f"5.{place}",
            family,
            _no_arguments,
            None,
            hint,
            points=float(sum(fault.family == family for fault in FAULTS)),
        )
        for place, (family, hint) in enumerate(FAMILIES.items(), 1)
    ),
    allows=("hypothesis",),
    limits=Limits(seconds_per_call=20.0, seconds=300.0, cpu_seconds=200),
    grader=grade_properties,
)
