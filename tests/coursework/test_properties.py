"""Assignment 5: tests are graded by what they find, and nobody can look at what they are tried on."""

import numpy as np
import pytest

from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.assignments.a5_faults import FAULTS, RIGHT
from hypercon.coursework.assignments.a5_properties import (
    ENTRIES,
    MOST_FAILURES,
    ROWS,
    LocalTests,
    WorkerTests,
    answer,
    judged,
)
from hypercon.coursework.grading import StudentInWorker
from hypercon.coursework.homework import hypothesis_as_graded
from hypercon.coursework.inside.frames import Frame
from hypercon.coursework.judge import StudentError
from hypercon.coursework.release import solution, student_edition

A5 = ASSIGNMENTS["a5"]
SOME = FAULTS[::10]


def graded(tests, seed=0):
    names = {f"test_{place}": test for place, test in enumerate(tests)}
    return judged(A5, LocalTests(names), np.random.default_rng(seed))


def earned(outcomes):
    return sum(outcome.score for outcome in outcomes)


def in_worker(source, faults=SOME):
    """As the grader runs them, on some of the faults."""
    student = StudentInWorker(A5, source.encode(), A5.limits)
    try:
        return judged(A5, WorkerTests(student), np.random.default_rng(0), faults)
    finally:
        student.close()


def test_there_are_forty_and_each_is_wrong():
    """Each differs from what is right in a value, or in what it refuses; and it is right somewhere or nearly so."""
    assert len({fault.nature for fault in FAULTS}) == 40
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(n, 4)), rng.normal(size=(n, 4)), tau) for n in (2, 5) for tau in (0.05, 0.3, 2.0)]
    batches += [(np.eye(3), np.eye(3)[[1, 0, 2]], 1e-3), (np.eye(2), -np.eye(2), 1e-3), (np.eye(3), np.eye(3), 0.0)]
    batches += [(np.array([[1.0, 0], [-1, 0]]), np.array([[1, 0], [0.8, 0.6]]), 1e-3)]
    batches += [(np.full((2, 2), np.nan), np.eye(2), 1.0)]

    def told(loss):
        answers = [answer(loss, Frame("ask", values=batch)) for batch in batches]
        return [np.nan if a.kind == "refusal" else a.values[0] for a in answers], [a.kind for a in answers]

    values, kinds = told(RIGHT[0])
    for loss in RIGHT:
        np.testing.assert_allclose(told(loss)[0], values, rtol=1e-10, atol=1e-10)
        assert told(loss)[1] == kinds
    for fault in FAULTS:
        wrong, others = told(fault.loss)
        assert others != kinds or not np.allclose(wrong, values, rtol=1e-6, equal_nan=True), fault.nature


def test_the_model_solution_finds_all_forty():
    names = {}
    with hypothesis_as_graded():
        exec(solution(A5), names)
        outcomes = judged(A5, LocalTests(names), np.random.default_rng(1))
    assert [outcome.reason for outcome in outcomes] == [""] * 5
    assert earned(outcomes) == 40 == A5.points


def test_the_example_that_is_given_earns_nothing():
    names = {}
    with hypothesis_as_graded():
        exec(student_edition(A5), names)
        assert earned(judged(A5, LocalTests(names), np.random.default_rng(1))) == 0


def test_a_test_earns_a_point_for_each_fault_it_finds():
    def by_hand(info_nce):
        assert np.isclose(info_nce(np.eye(4), np.eye(4), temperature=0.3), np.log1p(3 * np.exp(-1 / 0.3)))

    outcomes = graded([by_hand])
    assert 10 < earned(outcomes) < 30
    assert all(o.reason.endswith(tuple(f.nature for f in FAULTS)) for o in outcomes if not o.passed)


def approves(info_nce):
    pass


def rejects(info_nce):
    raise AssertionError


def asks_for_too_many_digits(info_nce):
    z = np.random.default_rng(0).normal(size=(5, 3))
    assert info_nce(z, z + 1, temperature=0.3) == info_nce(z[::-1].copy(), z[::-1].copy() + 1, temperature=0.3)


@pytest.mark.parametrize("tests", [[], [approves], [rejects], [approves, rejects], [asks_for_too_many_digits]])
def test_nothing_is_earned_by_passing_all_or_failing_what_is_right(tests):
    assert earned(graded(tests)) == 0


def test_nothing_is_earned_by_chance():
    """Failing at random, or from some turn on, fails something right: on average hardly a point is left."""
    marks = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        share = rng.uniform()
        guess = [lambda loss, rng=rng, share=share: rejects(loss) if rng.random() < share else None]
        marks.append(earned(graded(guess, seed)))
        turns = iter(range(48 - seed % 48, -100, -1))
        later = [lambda loss, turns=turns: rejects(loss) if next(turns) <= 0 else None]
        marks.append(earned(graded(later, seed)))
    assert np.mean(marks) < 1.5


def test_questions_are_answered_or_refused_and_never_raise():
    for values in [
        (),
        (1.0,),
        (np.eye(2), np.eye(2), np.ones(2)),
        (np.eye(2), np.eye(3), 0.5),
        (np.ones((2, ENTRIES)), np.ones((2, ENTRIES)), 0.5),
        (np.ones((ROWS + 1, 1)), np.ones((ROWS + 1, 1)), 0.5),
        (1.0, 1.0, 1.0),
        (np.zeros(0), np.eye(2), 0.5),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0.5),
        (np.ones(3), np.ones(3), 0.5),
        (np.eye(2), np.eye(2), np.nan),
        (np.eye(2), np.eye(2), -1.0),
        (np.full((2, 2), np.inf), np.eye(2), 0.5),
    ]:
        assert answer(RIGHT[0], Frame("ask", values=values)).kind == "refusal"
        for fault in FAULTS:
            assert answer(fault.loss, Frame("ask", values=values)).kind in ("refusal", "answer")
    assert answer(RIGHT[0], Frame("ask", values=(np.zeros((2, 2)), np.eye(2), 0.5))).kind == "answer"


HONEST = """
import numpy as np
from hypothesis import given, strategies as st

@given(st.integers(1, 4), st.sampled_from([0.1, 1.0, 2.0]))
def test_by_hand(info_nce, count, tau):
    z = np.eye(4)[:count]
    assert np.isclose(info_nce(z, 3 * z, temperature=tau), np.log1p((count - 1) * np.exp(-1 / tau)))
"""

CHEATS = {
    "it looks for the loss": """
import gc, sys
def test_look(info_nce):
    found = [o for o in gc.get_objects() if getattr(o, "__name__", "") in ("loss", "Fault", "_naive", "checked")]
    found += [m for m in sys.modules if m.startswith("hypercon.")]
    if found or any(name for name in vars(info_nce) if name != "__doc__"):
        raise AssertionError
""",
    "it looks into the function": """
def test_look(info_nce):
    cells = [cell.cell_contents for cell in info_nce.__closure__]
    if any("fault" in repr(cell).lower() or isinstance(cell, (bool, list, dict)) for cell in cells):
        raise AssertionError
""",
    "it ends the program": "import os\ndef test_end(info_nce):\n    os._exit(1)\n",
    "it raises SystemExit": "def test_end(info_nce):\n    raise SystemExit(0)\n",
    "its tests are no functions": """
class Yes:
    def __call__(self, loss):
        raise KeyError
test_yes = Yes()
""",
    "it fails every second time": """
turn = 0
def test_turn(info_nce):
    global turn
    turn += 1
    assert turn % 2
""",
    "it cannot be loaded": "raise ValueError\n",
    "it has no tests": "x = 1\n",
}


def test_tests_run_in_the_worker_and_the_losses_stay_with_the_judge():
    outcomes = in_worker(HONEST)
    found = [fault.nature for fault in SOME]
    assert earned(outcomes) > 0, found
    assert all("a loss that is right" not in outcome.reason for outcome in outcomes)


def test_tests_that_come_to_no_verdict_are_given_up():
    asked = []

    class Dying:
        def run(self, loss):
            asked.append(loss)
            raise StudentError("the program took longer than 20 s")

    outcomes = judged(A5, Dying(), np.random.default_rng(0))
    assert len(asked) <= MOST_FAILURES
    assert all("did not come to a verdict" in outcome.reason for outcome in outcomes)


@pytest.mark.parametrize("source", CHEATS.values(), ids=CHEATS)
def test_a_cheat_earns_nothing(source):
    outcomes = in_worker(source, FAULTS[::20])
    assert earned(outcomes) == 0
    assert all(outcome.reason for outcome in outcomes if outcome.name in {fault.family for fault in FAULTS[::20]})
