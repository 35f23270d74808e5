"""A class graded: one worker for each submission, a new one where it died, and marks that exist only afterwards."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from hypercon.coursework.exercise import Arguments, Assignment, Limits
from hypercon.coursework.inside.frames import Frame, FrameError
from hypercon.coursework.inside.system import prctl
from hypercon.coursework.judge import Outcome, StudentError, examine
from hypercon.coursework.sandbox import WALLS, Worker, WorkerError
from hypercon.coursework.submissions import Submission
from hypercon.coursework.text import one_line, readable
from hypercon.threads import one_blas_thread

_IS_DUMPABLE, _DUMPABLE = 3, 4


@dataclass(frozen=True)
class Grade:
    """What one submission earned.

    Attributes
    ----------
    name : str
    outcomes : tuple of Outcome
        One for each exercise.
    reason : str
        Why none of it could be asked, or nothing.
    printed : str
        The end of what it printed, made safe to show.
    uses : tuple of str
        What it imports, and what it calls that few solutions need: to be read by a teacher, and no ground for marks.
    layers : dict of str to bool
        Which walls stood around it. Empty where none of it ran.
    seconds : float
    judged : bool
        False where the judge itself failed: then the marks say nothing of the submission.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    reason: str = ""
    printed: str = ""
    uses: tuple[str, ...] = ()
    layers: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0
    judged: bool = True

    @property
    def score(self) -> float:
        """Points earned."""
        return sum(outcome.score for outcome in self.outcomes)

    @property
    def points(self) -> float:
        """The most there was."""
        return sum(outcome.points for outcome in self.outcomes)


class StudentInWorker:
    """A submission behind walls, as the judge asks it. One that died is started again for the next exercise, as long as
    its time lasts; one that cannot be loaded is not."""

    def __init__(
        self,
        assignment: Assignment,
        source: bytes,
        limits: Limits,
        walls: Sequence[str] = WALLS,
        required: Sequence[str] = (),
    ):
        self._assignment, self._source, self._limits = assignment, source, limits
        self._walls, self._required = walls, required
        self._deadline = time.monotonic() + limits.seconds
        self._worker: Worker | None = None
        self.unloadable = ""
        self.printed = ""
        self.uses: tuple[str, ...] = ()
        self.layers: dict[str, bool] = {}

    def call(self, name: str, arguments: Arguments, outputs: int) -> tuple[Sequence[np.ndarray], Arguments]:
        """Ask a function of the submission.

        Raises
        ------
        StudentError
            It is not there, raised, or did not answer as a function of ``outputs`` arrays does.
        """
        answer = self.ask("call", name, arguments, outputs)
        if answer.kind == "missing":
            raise StudentError(f"there is no function {name}")
        if answer.kind == "error":
            kind, _, rest = one_line(answer.text).partition(": ")
            undone = kind == "NotImplementedError"
            raise StudentError(f"not done yet: {rest}" if undone else f"it raised {kind}: {rest}")
        results, inputs = answer.values[: answer.count], answer.values[answer.count :]
        if answer.kind != "result" or len(results) != outputs or len(inputs) != len(arguments):
            self._give_up("the program wrote into the judge's channel: an answer of another form")
        if not all(isinstance(result, np.ndarray) for result in results):
            self._give_up("the program wrote into the judge's channel: a result that is no array")
        return results, inputs

    def ask(self, kind: str, *request: Any) -> Frame:
        """A request to the worker, which is started if there is none."""
        worker = self.worker()
        try:
            return worker.ask(kind, *request)
        except (WorkerError, FrameError) as error:
            self._give_up(str(error))

    def worker(self) -> Worker:
        """The worker with the submission loaded."""
        if self.unloadable:
            raise StudentError(self.unloadable)
        if self._worker is None:
            if time.monotonic() >= self._deadline:
                raise StudentError(f"not asked: the program has used up its {self._limits.seconds:g} s")
            self._worker = Worker(self._limits, self._walls, self._deadline, self._required)
            self.layers = self._worker.layers
            self._load(self._worker)
        return self._worker

    def _load(self, worker: Worker) -> None:
        try:
            source = (np.frombuffer(self._source, np.uint8),)
            worker.ask("allow", " ".join(self._assignment.allows))
            self.uses = tuple(one_line(worker.ask("uses", "", source).text).split())
            answer = worker.ask("load", "", source)
            if answer.kind != "loaded":
                raise WorkerError(one_line(answer.text))
        except (WorkerError, FrameError) as error:
            self.unloadable = f"it cannot be loaded: {error}"
            self._give_up(self.unloadable)

    def _give_up(self, why: str) -> NoReturn:
        self.close()
        raise StudentError(why)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            with contextlib.suppress(OSError, ValueError):
                self.printed = readable(self._worker.printed()) or self.printed
            self._worker.close()
            self._worker = None


def grade_one(
    assignment: Assignment,
    submission: Submission,
    seed: int,
    limits: Limits | None = None,
    walls: Sequence[str] = WALLS,
    required: Sequence[str] = (),
) -> Grade:
    """Every exercise of one submission. When it returns, nothing of the submission runs any more.

    Raises
    ------
    WorkerError
        No worker can be started, or none with the layers that are ``required``.
    """
    if submission.reason:
        return Grade(submission.name, _nothing(assignment, submission.reason), submission.reason)
    begun = time.monotonic()
    student = StudentInWorker(assignment, submission.source, limits or assignment.limits, walls, required)
    try:
        if assignment.grader is not None:
            outcomes = tuple(assignment.grader(assignment, student, np.random.default_rng(seed)))
        else:
            outcomes = tuple(
                examine(exercise, student, np.random.default_rng([seed, place]))
                for place, exercise in enumerate(assignment.exercises)
            )
    finally:
        student.close()
    return Grade(
        submission.name,
        tuple(map(_safe, outcomes)),
        reason=student.unloadable,
        printed=student.printed,
        uses=student.uses,
        layers=student.layers,
        seconds=time.monotonic() - begun,
    )


def grade_all(
    assignment: Assignment,
    submissions: Sequence[Submission],
    seed: int,
    jobs: int = 1,
    limits: Limits | None = None,
    walls: Sequence[str] = WALLS,
    required: Sequence[str] = (),
    done: Callable[[Grade], Any] = lambda grade: None,
) -> list[Grade]:
    """All submissions, in their order; ``done`` is called as each is finished. All see the same inputs.

    Where the judge fails over one of them, that one says so and the others are graded.
    """

    def one(submission: Submission) -> Grade:
        try:
            grade = grade_one(assignment, submission, seed, limits, walls, required)
        except Exception as error:  # a fault of ours, which must not cost the class its marks
            reason = f"not graded, by a fault of the judge: {one_line(f'{type(error).__name__}: {error}')}"
            grade = Grade(submission.name, _nothing(assignment, reason), reason, judged=False)
        return grade

    with _unseen(), one_blas_thread(), ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(one, submission) for submission in submissions]
        try:
            for finished in as_completed(running):
                done(finished.result())
        finally:  # after an interrupt no other is begun
            for waiting in running:
                waiting.cancel()
    return [finished.result() for finished in running]


def _safe(outcome: Outcome) -> Outcome:
    """With what may be the student's own words made safe to show."""
    return replace(outcome, reason=one_line(outcome.reason), case=readable(outcome.case))


def _nothing(assignment: Assignment, reason: str) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(exercise.id, exercise.name, exercise.points, reason=reason, hint=exercise.hint)
        for exercise in assignment.exercises
    )


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Meanwhile no other process of this user can read this one's memory, where expected results lie."""
    seen = prctl(_IS_DUMPABLE)
    prctl(_DUMPABLE, 0)
    try:
        yield
    finally:
        prctl(_DUMPABLE, seen)
