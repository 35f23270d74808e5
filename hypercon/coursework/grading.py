"""A class graded: one worker for each submission, a new one where it died, and marks that exist only afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypercon.coursework.exercise import Arguments, Assignment, Limits
from hypercon.coursework.inside.frames import FrameError
from hypercon.coursework.judge import Outcome, StudentError, examine
from hypercon.coursework.sandbox import Worker, WorkerError
from hypercon.coursework.submissions import Submission

MOST_WORKERS = 3


@dataclass(frozen=True)
class Grade:
    """What one submission earned. ``reason`` says why none of it could be asked."""

    name: str
    outcomes: tuple[Outcome, ...]
    reason: str = ""
    printed: str = ""
    layers: dict[str, bool] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Points earned."""
        return sum(outcome.score for outcome in self.outcomes)

    @property
    def points(self) -> float:
        """The most there was."""
        return sum(outcome.points for outcome in self.outcomes)


class StudentInWorker:
    """A submission behind walls. One that died is started again for the next exercise, a few times."""

    def __init__(self, assignment: Assignment, source: bytes, limits: Limits, walls: bool):
        self._assignment, self._source, self._limits, self._walls = assignment, source, limits, walls
        self._worker: Worker | None = None
        self._started = 0
        self._why = ""
        self.printed = ""
        self.layers: dict[str, bool] = {}

    def call(self, name: str, arguments: Arguments, outputs: int) -> tuple[Sequence[np.ndarray], Arguments]:
        """Ask a function of the submission."""
        answer = self.ask("call", name, arguments, outputs)
        if answer.kind == "missing":
            raise StudentError(f"there is no function {name}")
        if answer.kind == "error":
            text = answer.text
            kind, _, rest = text.partition(": ")
            raise StudentError(f"not done yet: {rest}" if kind == "NotImplementedError" else f"it raised {text}")
        inputs = answer.values[outputs:]
        results = answer.values[:outputs]
        if answer.kind != "result" or answer.count != outputs or len(inputs) != len(arguments):
            self._give_up("the program wrote into the judge's channel: an answer of another form")
        if not all(isinstance(result, np.ndarray) for result in results):
            self._give_up("the program wrote into the judge's channel: a result that is no array")
        return results, inputs

    def ask(self, kind: str, *request: Any) -> Any:
        """A request to the worker, which is started if there is none."""
        try:
            return self.worker().ask(kind, *request)
        except (WorkerError, FrameError) as error:
            self._give_up(str(error))

    def worker(self) -> Worker:
        """The worker with the submission loaded."""
        if self._worker is None:
            if self._started == MOST_WORKERS:
                raise StudentError(
                    f"not asked: the program has died {MOST_WORKERS} times, the last time since {self._why}"
                )
            self._started += 1
            self._worker = Worker(self._limits, self._walls)
            self.layers = self._worker.layers
            self._worker.ask("allow", " ".join(self._assignment.allows))
            answer = self._worker.ask("load", "", (np.frombuffer(self._source, np.uint8),))
            if answer.kind != "loaded":
                self._started = MOST_WORKERS
                self._give_up(f"it cannot be loaded: {answer.text}")
        return self._worker

    def _give_up(self, why: str) -> None:
        self._why = why
        self.close()
        raise StudentError(why)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            with contextlib.suppress(OSError, ValueError):
                self.printed = self._worker.printed()
            self._worker.close()
            self._worker = None


def grade_one(assignment: Assignment, submission: Submission, seed: int, limits: Limits, walls: bool) -> Grade:
    """Every exercise of one submission. When it returns, nothing of the submission runs any more."""
    nothing = tuple(
        Outcome(e.id, e.name, e.points, reason=submission.reason, hint=e.hint) for e in assignment.exercises
    )
    if submission.reason:
        return Grade(submission.name, nothing, submission.reason)
    student = StudentInWorker(assignment, submission.source, limits, walls)
    try:
        if assignment.grader is not None:
            outcomes = assignment.grader(assignment, student, np.random.default_rng(seed))
        else:
            outcomes = tuple(
                examine(exercise, student, np.random.default_rng([seed, place]))
                for place, exercise in enumerate(assignment.exercises)
            )
    finally:
        student.close()
    return Grade(submission.name, outcomes, "", student.printed, student.layers)


def grade_all(
    assignment: Assignment,
    submissions: Sequence[Submission],
    seed: int,
    jobs: int = 1,
    limits: Limits | None = None,
    walls: bool = True,
    done: Callable[[Grade], Any] = lambda grade: None,
) -> list[Grade]:
    """All submissions, in their order; ``done`` is called as each is finished."""
    limits = limits or assignment.limits

    def one(submission: Submission) -> Grade:
        try:
            grade = grade_one(assignment, submission, seed, limits, walls)
        except WorkerError as error:
            grade = grade_one(assignment, Submission(submission.name, reason=str(error)), seed, limits, walls)
        done(grade)
        return grade

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, submissions))
