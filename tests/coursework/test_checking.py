"""`check` names what is wrong with a function, whatever it does."""

import contextlib
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import hypercon as hc
from hypercon.coursework import check
from hypercon.coursework.lessons import EXERCISES
from hypercon.errors import DtypeError, InputError, UnfinishedError


def right(positive, negatives, temperature):
    mass = np.exp(negatives / temperature)
    return mass / mass.sum()


right_gradient = EXERCISES["03.4"].expected


def never_ends(positive, negatives, temperature):
    while True:
        pass


def never_ends_and_catches(positive, negatives, temperature):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def never_ends_and_catches_all(positive, negatives, temperature):
    while True:
        try:  # noqa: SIM105 - as a learner writes it
            time.sleep(0.001)
        except:  # noqa: E722
            pass


def never_ends_within_a_try(positive, negatives, temperature):
    try:
        while True:
            positive += 1
    finally:
        positive = 0


def mutates(positive, negatives, temperature):
    negatives /= temperature
    return right(positive, negatives, 1.0)


def divides_by_zero(positive, negatives, temperature):
    zero = 0
    return 1 / zero


def sleeps(positive, negatives, temperature):
    for _ in range(1000):
        time.sleep(0.01)


def misspells(positive, negatives, temperature):
    return np.exp(negative / temperature)  # noqa: F821 - the slip


def prints_the_result(positive, negatives, temperature):
    print(right(positive, negatives, temperature))


SLIPS = {  # they say nothing of the formula
    "takes one argument": (
        lambda negatives: negatives,
        r"it takes \(negatives\), expected 3 arguments \(positive, neg",
    ),
    "returns None": (lambda p, n, t: None, "it returned None: end it with `return"),
    "prints and returns None": (prints_the_result, "prints and returns None: write `return` in the place of print"),
    "returns a list": (
        lambda p, n, t: right(p, n, t).tolist(),
        r"returned a list, expected an array: return np\.array",
    ),
    "returns a Tensor": (lambda p, n, t: hc.tensor(right(p, n, t)), r"returned a Tensor.*return its \.data"),
    "returns text": (lambda p, n, t: "0.5", "returned a str, expected numbers"),
    "returns objects": (lambda p, n, t: np.array([None, 1]), "returned an array of dtype object, expected numbers"),
    "misspells": (misspells, "raised NameError: name 'negative' is not defined"),
    "sleeps": (sleeps, "stopped while it waited, not computing: is there a loop that never"),
    "exits": (lambda p, n, t: sys.exit(3), "raised SystemExit: 3"),
    "never ends": (never_ends, "stopped after 0.7 s of computing: is there a loop that never ends"),
    "never ends and catches": (never_ends_and_catches, "is there a loop that never ends"),
    "never ends and catches all": (never_ends_and_catches_all, "is there a loop that never ends"),
    "never ends within a try": (never_ends_within_a_try, "is there a loop that never ends"),
    "mutates": (mutates, "its inputs are as they were: it writes into them: compute on a copy"),
}
WRONG = {
    "raises": (divides_by_zero, r"raised ZeroDivisionError: division by zero \(in line 3 of divides_by_zero\)"),
    "another shape": (
        lambda p, n, t: np.append(right(p, n, t), 0),
        r"wrong shape or axis: got \(2,\), expected \(1,\)",
    ),
    "nan": (lambda p, n, t: n * np.nan, "not stable: a result is nan or infinite"),
}


@pytest.mark.parametrize(("function", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_a_hint(function, said):
    report = check("03.2", function)
    assert not report
    assert re.search(said, repr(report)), repr(report)
    assert report.hint.startswith("hint ")


@pytest.mark.parametrize(("function", "said"), SLIPS.values(), ids=SLIPS)
def test_a_slip_is_named_and_costs_no_hint(function, said):
    check("03.2", right)
    for _ in range(2):
        report = check("03.2", function)
        assert not report
        assert re.search(said, repr(report)), repr(report)
        assert not report.hint
    assert check("03.2", lambda p, n, t: n * 0.0).hint.startswith("hint 1 of 2")


def test_a_wrong_formula_that_slips_as_well_gets_its_hint():
    def wrong_and_writes(positive, negatives, temperature):
        negatives /= temperature
        return np.exp(negatives)

    report = check("03.2", wrong_and_writes)
    assert "it is not divided by the sum" in repr(report)
    assert "it writes into them" in repr(report)
    assert report.hint


@pytest.mark.parametrize("id", ["03.3", "03.4", "07.1", "07.2", "07.4"])
def test_extreme_inputs_are_not_asked_before_ordinary_ones_are_right(id):
    report = check(id, next(iter(EXERCISES[id].mistakes.values())))
    assert [(p.name, p.holds) for p in report.properties[:2]] == [
        ("the right values", False),
        ("the right values on extreme inputs", None),
    ]
    assert "not reached the right values on extreme inputs: first the right values, above" in repr(report)
    assert "not stable" not in repr(report)


@pytest.mark.parametrize(
    ("id", "wrong", "said"),
    [
        ("03.4", lambda s, t: right_gradient(s, t) / len(s), "divided by N once too often, or half of what is right"),
        ("03.4", lambda s, tau: right_gradient(s, tau) / tau, "divided by temperature once too often"),
        ("03.2", lambda p, n, t: right(p, n, t) / t, "divided by temperature once too often"),
        ("03.2", lambda p, n, t: right(p, n, t) * t, "missing temperature: not divided by it"),
    ],
)
def test_a_factor_too_many_is_no_factor_too_few(id, wrong, said):
    first = repr(check(id, wrong)).splitlines()[1]
    assert first == f"  fails       the right values: {said}"


def test_a_right_answer_passes_with_every_property_named():
    report = check("03.2", right)
    assert report
    assert [p.holds for p in report.properties] == [True] * 5
    assert not report.case
    assert not report.hint
    assert repr(report).startswith("03.2 hardness: all 5 properties hold")


def test_other_properties_are_told_beside_the_one_that_fails():
    report = check("03.2", lambda positive, negatives, temperature: right(positive, negatives, 1.0))
    assert {p.name: p.holds for p in report.properties} == {
        "the right values": False,
        "the shares sum to 1": True,
        "the positive plays no role": True,
        "the order of the negatives plays no role": True,
        "its inputs are as they were": True,
    }
    assert "the temperature is missing" in repr(report)


def test_the_failing_input_is_the_smallest_and_can_be_pasted():
    report = check("03.2", lambda positive, negatives, temperature: negatives * 0 + 1 / (len(negatives) or 1))
    case = report.case.splitlines()
    given = eval(f"dict({case[0].strip().removeprefix('with ')})", {"array": np.array})
    assert list(given) == ["positive", "negatives", "temperature"]
    assert len(given["negatives"]) == 2  # with one negative, an equal share is right
    assert case[1].strip().startswith("got ")
    assert case[2].strip().startswith("expected ")


def test_hints_come_one_at_a_time_and_begin_anew_when_it_is_right():
    check("03.1", lambda p, n, t: np.log1p(np.exp((n - p) / t).sum()))
    hints = [check("03.1", lambda p, n, t: 0.0).hint for _ in range(4)]
    assert [hint[:11] for hint in hints] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]
    check("03.1", lambda p, n, t: np.log1p(np.exp((n - p) / t).sum()))
    assert check("03.1", lambda p, n, t: 0.0).hint.startswith("hint 1 of 3")


def test_a_print_is_a_note_and_no_fault(capsys):
    def talks(positive, negatives, temperature):
        print("here I am")
        return right(positive, negatives, temperature)

    report = check("03.2", talks)
    assert report
    assert report.notes == ("printed: 'here I am' (not part of the answer)",)
    assert capsys.readouterr().out.count("here I am") == 1


def test_what_is_not_done_stops_with_what_to_do():
    def hardness(positive, negatives, temperature):
        raise NotImplementedError("write hardness")

    with pytest.raises(UnfinishedError, match=r"^03.2 is not done yet: write hardness, then run this again$"):
        check("03.2", hardness)


@pytest.mark.parametrize("id", ["03.9", "99.1", "", "three"])
def test_an_unknown_id_is_told_with_those_there_are(id):
    with pytest.raises(InputError, match=r"there is no exercise .*03\.2"):
        check(id, right)


def test_the_id_of_an_assignment_for_a_function_of_a_lesson_asks_which_was_meant():
    def hardness(positive, negatives, temperature):
        return right(positive, negatives, temperature)

    with pytest.raises(InputError, match=r'got "3\.2", .* for hardness: did you mean "03\.2"\?'):
        check("3.2", hardness)
    assert check("03.2", hardness)


def test_what_is_no_function_is_refused():
    with pytest.raises(DtypeError, match="got float, expected the function hardness"):
        check("03.2", 0.5)
    with pytest.raises(DtypeError, match="expected the id of an exercise"):
        check(right, "03.2")


def test_it_works_in_another_thread_and_leaves_a_debugger_its_place():
    reports = []
    thread = threading.Thread(target=lambda: reports.append(check("03.2", never_ends)))
    thread.start()
    thread.join()
    assert "never ends" in repr(reports[0])
    seen = []

    def debugger(frame, event, argument):
        seen.append(event)

    before = sys.gettrace()
    sys.settrace(debugger)
    try:
        check("03.2", right)
        assert sys.gettrace() is debugger
    finally:
        sys.settrace(before)


def test_a_report_in_a_notebook_is_text_and_never_markup():
    report = check("03.2", lambda p, n, t: "<script>alert(1)</script>")
    assert "<script>" not in report._repr_html_()

    def sneaky(positive, negatives, temperature):
        raise ValueError("<b>bold</b>")

    shown = check("03.2", sneaky)._repr_html_()
    assert "&lt;b&gt;bold" in shown
    assert 'role="status"' in shown


def test_hypercon_alone_does_not_load_the_coursework():
    code = (
        "import sys, hypercon as hc; before = 'hypercon.coursework' in sys.modules; print(before, hc.coursework.check)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("False <function check")
