"""The lessons: each runs and prints what it says, its student's edition stops at the first exercise, and its exercises
know right from wrong."""

import ast
import contextlib
import io
import json
import re
from decimal import Decimal

import matplotlib
import numpy as np
import pytest

import hypercon as hc
from hypercon.coursework import catalogue, check, editions
from hypercon.coursework.lessons import EXERCISES
from hypercon.errors import UnfinishedError

matplotlib.use("Agg")

LESSONS = catalogue.lessons()
lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)
PARTS = (
    "You will be able to",
    "**Time**",
    "**Prerequisites**",
    "Break it",
    "Test yourself",
    "Further reading",
    "**Next**",
)
NO_CODE = r"\s*# (expected:|roughly:|BEGIN|END)"
MODULES = {
    "hypercon",
    "hypercon.coursework",
    "hypercon.errors",
    "hypercon.explain.motion",
    "hypercon.palette",
    "hypercon.plotting",
}


def cells(text):
    """(is it prose?, text) for each cell."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    return [(kind.strip() == "[markdown]", body.strip()) for kind, body in zip(parts[1::2], parts[2::2], strict=True)]


def code(text):
    return [body for is_prose, body in cells(text) if not is_prose]


def asked(text):
    """The id and the function of every check."""
    return re.findall(r'^check\("(\d\d\.\d+)", (\w+)\)$', text, re.MULTILINE)


def run(cell, names):
    """Execute a cell and return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(cell, "cell", "exec"), names)
    return printed.getvalue()


@pytest.fixture(autouse=True)
def _closed():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@lesson
def test_the_solutions_run_print_what_is_stated_and_pass(lesson):
    text = editions.with_solutions(lesson.source)
    names = {"__name__": "__main__"}
    for cell in code(text):
        printed = run(cell, names)
        stated = re.findall(r"^\s*# (expected|roughly): (.*)$", cell, re.MULTILINE)
        if stated:
            compare(printed, stated, cell)
    for id, name in asked(text):
        assert check(id, names[name]), id


@lesson
def test_the_students_edition_stops_at_the_first_exercise_and_says_what_to_do(lesson):
    text = editions.without_solutions(lesson.source)
    names = {"__name__": "__main__"}
    for cell in code(text):
        if asked(cell):
            break
        run(cell, names)
    id, name = asked(cell)[0]
    with pytest.raises(UnfinishedError, match=f"{id} is not done yet: write {name}"):
        run(cell, names)
    for other, unwritten in asked(text)[1:]:  # and no other exercise is given away
        tree = ast.parse(
            "\n\n".join(part for part in code(text) if re.search(rf"^def {unwritten}\(", part, re.MULTILINE))
        )
        assert "raise NotImplementedError" in ast.unparse(tree), other


@lesson
def test_it_has_the_parts_of_a_lesson(lesson):
    text = lesson.source
    for part in PARTS:
        assert part in text, part
    assert lesson.title
    assert lesson.minutes <= 25
    assert len(re.findall(r"<details><summary>\d\. ", text)) == text.count("</details>") == 5
    assert 3 <= len(asked(text)) <= 5


@lesson
def test_every_cell_is_short_and_follows_a_sentence(lesson):
    before = None
    for is_prose, body in cells(lesson.source):
        if not is_prose:
            lines = [line for line in body.splitlines() if line.strip() and not re.match(NO_CODE, line)]
            assert len(lines) <= 15, body
            assert before or asked(body), f"no sentence before\n{body}"
        before = is_prose


@lesson
def test_every_picture_is_described(lesson):
    for body in code(lesson.source):
        assert ("subplots(" in body) == ("described(" in body), body


@lesson
def test_it_calls_only_what_is_public(lesson):
    tree = ast.parse(lesson.source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
            path = ast.unparse(node)
            if re.fullmatch(r"hc(\.\w+)+", path):
                assert_public(path.split(".")[1:])
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "hypercon":
            assert node.module in MODULES, node.module
            assert not any(name.name.startswith("_") for name in node.names)
        elif isinstance(node, ast.Import):
            assert all(name.name in MODULES or not name.name.startswith("hypercon") for name in node.names)


def assert_public(path):
    found = hc
    for name in path:
        known = getattr(found, "__all__", None)
        assert known is None or name in known, f"{'.'.join(path)} is not public"
        found = getattr(found, name)


def test_every_exercise_is_asked_for_once_under_its_own_name():
    found = [pair for lesson in LESSONS for pair in asked(lesson.source)]
    assert sorted(id for id, _ in found) == sorted(EXERCISES)
    for id, name in found:
        assert EXERCISES[id].name == name
    for lesson in LESSONS:
        assert all(id.startswith(lesson.number) for id, _ in asked(lesson.source))


# what is handed in for these is no function of arrays
PLANTED = {
    "01.4": {
        "g is missing": hc.primitive(lambda g, out, x: hc.sigmoid(x))(lambda x: np.logaddexp(x, 0)),
        "the rule leaves tensors": hc.primitive(lambda g, out, x: g * (out > 0))(lambda x: np.logaddexp(x, 0)),
        "a wrong value": hc.primitive(lambda g, out, x: g * hc.sigmoid(x))(lambda x: np.maximum(x, 0)),
    }
}


def test_planted_answers_of_other_kinds_fail():
    assert set(PLANTED) == {id for id, exercise in EXERCISES.items() if not exercise.mistakes}
    for id, answers in PLANTED.items():
        assert len(answers) >= 3
        for nature, wrong in answers.items():
            assert not check(id, wrong), nature


@pytest.mark.parametrize("id", [id for id, exercise in EXERCISES.items() if exercise.mistakes])
def test_planted_mistakes_fail_and_are_named(id):
    exercise = EXERCISES[id]
    assert len(exercise.mistakes) >= 3
    for nature, wrong in exercise.mistakes.items():
        report = check(id, wrong)
        assert not report, nature
        assert nature in repr(report), f"{nature}:\n{report}"
        assert report.case
        assert report.hint


ONE_MAXIMUM = "one maximum for the whole matrix"
POSITIVES_MAXIMUM = "the row's maximum is its positive"
CARELESS = {  # as a learner writes them: each holds at ordinary temperatures, and at 0.001 while the rows are alike
    "03.3": ("def info_nce(s, tau):\n logits = s / tau\n peak = logits.max()\n"
             " return (np.log(np.exp(logits - peak).sum(1)) + peak - np.diag(logits)).mean()", ONE_MAXIMUM),
    "03.4": ("def gradient(s, tau):\n mass = np.exp((s - s.max()) / tau)\n"
             " return (mass / mass.sum(1, keepdims=True) - np.eye(len(s))) / len(s) / tau", ONE_MAXIMUM),
    "07.1": ("def own_class_share(s, labels, tau):\n mass = np.exp((s - s.max(1, keepdims=True)) / tau)\n"
             " mass[np.eye(len(s), dtype=bool)] = 0\n"
             " return (mass / mass.sum(1, keepdims=True) * (labels[:, None] == labels)).sum(1)", POSITIVES_MAXIMUM),
    "08.1": ("def hard_shares(s, tau, k):\n n = np.where(np.eye(len(s), dtype=bool), -np.inf, s)\n"
             " kept = n >= -np.sort(-n, axis=1)[:, k - 1 : k]\n"
             " mass = np.exp((s - s.max(1, keepdims=True)) / tau) * kept\n"
             " return mass / mass.sum(1, keepdims=True)", POSITIVES_MAXIMUM),
    "08.4": ("def decoupled(s, tau):\n logits = s / tau\n peak = logits.max(1)\n"
             " mass = np.exp(logits - peak[:, None])\n np.fill_diagonal(mass, 0)\n"
             " return (np.log(mass.sum(1)) + peak - np.diag(logits)).mean()", POSITIVES_MAXIMUM),
    "09.1": ("def log_sums(u, v, tau, tile):\n total = np.full(len(u), -np.inf)\n"
             " for start in range(0, len(v), tile):\n  logits = u @ v[start : start + tile].T / tau\n"
             "  peak = logits.max()\n"
             "  total = np.logaddexp(total, np.log(np.exp(logits - peak).sum(1)) + peak)\n"
             " return total", "one maximum for all anchors"),
}  # fmt: skip


@pytest.mark.parametrize("id", CARELESS)
def test_a_maximum_that_serves_only_some_rows_is_caught_and_named(id):
    source, nature = CARELESS[id]
    names = {"np": np}
    exec(source, names)
    for seed in range(5):
        report = check(id, names[EXERCISES[id].name], seed=seed)
        assert [p.name for p in report.properties if p.holds is False] == ["the right values on extreme inputs"]
        assert f"not stable: {nature}" in repr(report)


def test_edges_walked_in_their_own_order_are_no_oldest_first():
    def sweep(count, edges, slopes):
        cotangents = np.eye(count)[-1]
        for (source, target), slope in zip(edges, slopes, strict=True):
            cotangents[source] += slope * cotangents[target]
        return cotangents

    for seed in range(5):
        assert "a node hands on before it has received everything" in repr(check("01.2", sweep, seed=seed))


@lesson
def test_notebooks_carry_no_outputs_and_are_the_same_each_time(lesson):
    pytest.importorskip("jupytext", reason='needs pip install "hypercon[notebooks]"')
    for edition in (editions.with_solutions, editions.without_solutions):
        text = editions.notebook(edition(lesson.source))
        assert text == editions.notebook(edition(lesson.source))
        made = json.loads(text)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in made["cells"])
        assert editions.BEGIN not in text
        assert len([cell for cell in made["cells"] if cell["cell_type"] == "code"]) == len(code(lesson.source))


def one(outputs):
    (output,) = outputs  # shown as the cell's result, and not printed as well
    return output


@pytest.mark.notebooks
@lesson
def test_the_solution_notebook_executes(lesson, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason='needs pip install "hypercon[notebooks]"')
    import nbformat

    made = nbformat.reads(editions.notebook(editions.with_solutions(lesson.source)), as_version=4)
    nbclient.NotebookClient(made, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in shown)
    checks = [
        one(cell.outputs).data["text/html"] for cell in made.cells if cell.cell_type == "code" and asked(cell.source)
    ]
    assert all("properties hold" in text and "fails" not in text for text in checks)
    for output in shown:
        assert "image/png" not in output.get("data", {}), "a picture without its description"


UNFINISHED = """\
from hypercon.coursework import check

def hardness(positive, negatives, temperature):
    raise NotImplementedError("write hardness")
"""


@pytest.mark.notebooks
def test_an_unfinished_exercise_stops_a_notebook_in_one_line(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason='needs pip install "hypercon[notebooks]"')
    import nbformat

    source = f"# %%\n{UNFINISHED}\n\n# %%\ncheck('03.2', hardness)\n"
    made = nbformat.reads(editions.notebook(source), as_version=4)
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(made, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    assert made.cells[-1].outputs[0].traceback == ["03.2 is not done yet: write hardness, then run this again"]


# --- what is stated, and what is printed


def compare(printed, stated, cell):
    lines = [line for line in printed.splitlines() if line.strip()]
    assert len(lines) == len(stated), f"{len(lines)} lines printed, {len(stated)} stated:\n{cell}\n{printed}"
    for line, (how, text) in zip(lines, stated, strict=True):
        assert agrees(line, text, roughly=how == "roughly"), f"printed {line!r}, {how}: {text!r}"


NUMBER = r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"


def agrees(printed, stated, roughly):
    numbers = [[number.replace(",", "") for number in re.findall(NUMBER, text)] for text in (printed, stated)]
    words = [re.sub(r"\s+", "", re.sub(NUMBER, "#", text)) for text in (printed, stated)]
    if words[0] != words[1] or len(numbers[0]) != len(numbers[1]):
        return False
    for got, expected in zip(*numbers, strict=True):
        unit = Decimal(10) ** Decimal(expected).as_tuple().exponent
        error = abs(Decimal(got) - Decimal(expected))
        if error > (abs(Decimal(expected)) / 4 + Decimal("0.05") if roughly else unit):
            return False
    return True


@pytest.mark.parametrize(
    ("printed", "stated", "roughly", "same"),
    [
        ("[ 1.0  -2.5]", "[1.0 -2.5]", False, True),
        ("loss 1.2345", "loss 1.2346", False, True),
        ("loss 1.2345", "loss 1.2348", False, False),
        ("loss 1.2345", "gain 1.2345", False, False),
        ("2.56e+12 of 4,096", "2.57e+12 of 4,096", False, True),
        ("2.56e+12", "2.59e+12", False, False),
        ("1 2", "1", False, False),
        ("loss 1.3", "loss 1.1", True, True),
        ("loss 2.3", "loss 1.1", True, False),
        ("True", "False", False, False),
        ("nan", "nan", False, True),
    ],
)
def test_statements_are_compared_number_by_number(printed, stated, roughly, same):
    assert agrees(printed, stated, roughly) is same


def test_an_edition_keeps_what_is_outside_its_fences():
    lines = ["import x", "# BEGIN SOLUTION", "secret = 1", "# END SOLUTION", "def f(a):", "    b = a"]
    source = "\n".join([*lines, "    # BEGIN SOLUTION", "    return secret", "    # END SOLUTION", ""])
    assert editions.with_solutions(source) == "import x\nsecret = 1\ndef f(a):\n    b = a\n    return secret\n"
    assert "secret" not in editions.without_solutions(source)
    assert 'b = a\n    raise NotImplementedError("write f")' in editions.without_solutions(source)


@pytest.mark.parametrize(
    "source",
    ["# BEGIN SOLUTION\n", "# END SOLUTION\n", "# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION\n"],
)
def test_a_broken_fence_is_told_with_its_line(source):
    with pytest.raises(hc.errors.DataError, match=r"^line \d"):
        editions.without_solutions(source)
