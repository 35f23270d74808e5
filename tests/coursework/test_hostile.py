"""Every hostile submission earns nothing, ends in time, and leaves no process and no file; and each is a real trick."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coursework.hostile import CHEATS, FILES, RIGHT, WRONG

from hypercon.coursework import grading, sandbox
from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.exercise import Limits
from hypercon.coursework.grading import grade_all
from hypercon.coursework.sandbox import WALLS, Worker
from hypercon.coursework.submissions import Submission

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="submissions are graded on Linux")

NAMES = ("info_nce", "info_nce_gradient", "info_nce_per_sample")
A2 = ASSIGNMENTS["a2"]
ASSIGNMENT = replace(A2, exercises=tuple(exercise for exercise in A2.exercises if exercise.name in NAMES))
QUICK = Limits(seconds_per_call=1, seconds=12, cpu_seconds=8)
SEED = 20_260_101
PLACES = (".", "..", "/", "/tmp", "/var/tmp", "/dev/shm", "/autograder/results", "~")
LEFT = ("results.json", "hostile-mark", "hostile-mark.pth")


@pytest.fixture
def workers(monkeypatch):
    """Every worker that is started, to look for what is left of it."""
    started = []

    class Recorded(Worker):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(grading, "Worker", Recorded)
    return started


@pytest.fixture
def listener():
    """A server on this machine, and how many have called it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def processes():
    """Every process here: its number, session, group, user, and the command that it, or who forked it, began as."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                uid = int((entry / "status").read_text().partition("\nUid:")[2].split()[0])
                command = (entry / "cmdline").read_text(errors="replace")
            except (OSError, IndexError):  # it has just ended
                continue
            if fields[0] != "Z":
                yield int(entry.name), int(fields[3]), int(fields[2]), uid, command


def left_by(workers):
    """Processes that a worker, or what it started, has left."""
    sessions, users = {worker.pid for worker in workers}, {worker.uid for worker in workers} - {None}
    folders = [str(worker._folder) for worker in workers]
    return [
        pid
        for pid, session, group, uid, command in processes()
        if {pid, session, group} & sessions or uid in users or any(folder in command for folder in folders)
    ]


def require_walls():
    """What signals everybody must not run where only its user's rights hold it."""
    with Worker(QUICK) as worker:
        if not (worker.layers["own processes"] or worker.layers["refused calls"]):
            pytest.skip("signals would reach other processes of this user")


def marks():
    return [path for place in PLACES for name in LEFT if (path := Path(place).expanduser() / name).exists()]


def judged(source, limits=QUICK, walls=WALLS, seed=SEED):
    return grade_all(ASSIGNMENT, [Submission("somebody", source)], seed, limits=limits, walls=walls)[0]


def test_the_harness_gives_an_honest_submission_full_marks(workers):
    grade = judged(RIGHT, ASSIGNMENT.limits)
    assert [outcome.reason for outcome in grade.outcomes] == ["", "", ""]
    assert grade.score == grade.points == 3
    assert left_by(workers) == []


def test_without_a_trick_the_hostile_ones_have_only_wrong_values():
    assert [outcome.score for outcome in judged(WRONG.encode()).outcomes] == [0, 0, 0]


@pytest.mark.parametrize("name", CHEATS)
def test_a_hostile_submission_earns_nothing_and_leaves_nothing(name, workers, listener, tmp_path, monkeypatch):
    cheat = CHEATS[name]
    if cheat.signals:
        require_walls()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grades.csv").write_text("before")
    port = listener.getsockname()[1]
    before = marks()
    begun = time.monotonic()
    grade = judged(cheat.source.replace(b"PORT", str(port).encode()))
    spent = time.monotonic() - begun

    assert grade.judged, grade.reason
    assert [outcome.score for outcome in grade.outcomes] == [0, 0, 0]
    assert all(outcome.reason for outcome in grade.outcomes)
    assert not any("READ" in outcome.reason for outcome in grade.outcomes), "it read what it must not"
    assert spent < 5 * QUICK.seconds  # its time, and as much again and more for a machine that others use
    assert workers
    assert left_by(workers) == []
    assert not any(worker._folder.exists() for worker in workers)
    assert marks() == before
    assert [path.name for path in tmp_path.iterdir()] == ["grades.csv"]
    assert (tmp_path / "grades.csv").read_text() == "before"
    with pytest.raises(BlockingIOError):
        listener.accept()
    text = json.dumps([grade.printed, *(outcome.reason for outcome in grade.outcomes)], ensure_ascii=False)
    assert text.isprintable()


def test_the_judge_grades_on_after_all_of_them():
    some = ("exits hard when called", "leaves a daemon", "closes the channel", "takes all memory", "forks without end")
    class_ = [Submission(name, CHEATS[name].source) for name in some]
    class_[2:2] = [Submission("honest", RIGHT)]
    grades = grade_all(ASSIGNMENT, class_, SEED, jobs=2)
    assert [grade.score for grade in grades] == [0, 0, 3, 0, 0, 0]


LEAVING = [*FILES, "leaves a daemon", "forks without end", "reaches the library by its path", "uses the network"]


@pytest.mark.parametrize("name", LEAVING)
def test_without_namespaces_they_earn_and_leave_nothing_either(name, workers, tmp_path, monkeypatch):
    """As in a container: what is left is refused calls, the fence around files and, for root, another user."""
    monkeypatch.chdir(tmp_path)
    before = marks()
    grade = judged(CHEATS[name].source.replace(b"PORT", b"9"), walls=("user", "files", "calls"))
    assert not grade.layers["own processes"]
    assert grade.layers["refused calls"]
    assert [outcome.score for outcome in grade.outcomes] == [0, 0, 0]
    assert not any("READ" in outcome.reason for outcome in grade.outcomes)
    assert left_by(workers) == []
    assert not any(worker._folder.exists() for worker in workers)
    assert marks() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["leaves a child", "leaves a daemon"])
def test_where_nothing_else_ends_what_was_left_the_sweep_does(name):
    with Worker(QUICK, walls=()) as worker:
        worker.ask("load", "", (np.frombuffer(CHEATS[name].source, np.uint8),))
        worker.ask("call", "info_nce", (np.ones((2, 2)), np.ones((2, 2)), 0.5), 1)
        expected = 3 if os.getuid() == 0 else 2  # keeper, worker and what was left; a user's worker cannot fork
        ends = time.monotonic() + 20
        while len(left_by([worker])) < expected and time.monotonic() < ends:
            time.sleep(0.02)
        assert len(left_by([worker])) >= expected
    assert left_by([worker]) == []


# --- the tricks are tricks


@pytest.mark.parametrize("name", [name for name, cheat in CHEATS.items() if cheat.fools])
def test_an_ordinary_judge_is_fooled(name, tmp_path):
    assert naive_marks(CHEATS[name].source, tmp_path) > 0


@pytest.mark.parametrize("source", [WRONG.encode(), b"def info_nce(*inputs): raise ValueError"])
def test_an_ordinary_judge_gives_nothing_for_wrong_answers_alone(source, tmp_path):
    assert naive_marks(source, tmp_path) == 0


def test_at_least_ten_of_forty_tricks_fool_an_ordinary_judge():
    assert len(CHEATS) >= 40
    assert sum(cheat.fools for cheat in CHEATS.values()) >= 10


def naive_marks(source, folder):
    program = Path(__file__).with_name("naive_judge.py")
    (folder / "submission.py").write_bytes(source.replace(b"/tmp", bytes(folder)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, program, "submission.py"], cwd=folder, env=environment, capture_output=True, timeout=120
    )
    results = folder / "results.json"
    if results.exists():
        return json.loads(results.read_text())["score"]
    return 3 if ran.returncode == 0 else 0


@pytest.mark.parametrize(("walls", "earns"), [((), True), (("files",), False)])
def test_the_library_can_be_reached_by_its_path_where_no_wall_stands(walls, earns):
    grade = judged(CHEATS["reaches the library by its path"].source, ASSIGNMENT.limits, walls)
    assert (grade.score > 0) == earns


# --- answers that were learnt by heart


def recorded(seed):
    """A submission that knows the answers to what a judge draws from ``seed``, and nothing else."""
    table = {}
    for place, exercise in enumerate(ASSIGNMENT.exercises):
        student = Memory(exercise)
        grading.examine(exercise, student, np.random.default_rng([seed, place]))
        table |= student.table
    return f"""
import numpy as np
TABLE = {table!r}
def look(name, inputs):
    return eval(TABLE.get((name, *(np.asarray(x).tobytes() for x in inputs)), "0.0"), vars(np))
def info_nce(*inputs): return look("info_nce", inputs)
def info_nce_gradient(*inputs): return look("info_nce_gradient", inputs)
def info_nce_per_sample(*inputs): return look("info_nce_per_sample", inputs)
""".encode()


class Memory:
    """Answers rightly and writes down what it was asked."""

    def __init__(self, exercise):
        self.exercise, self.table = exercise, {}
        self.functions = {}
        exec(RIGHT, self.functions)

    def call(self, name, arguments, outputs):
        value = self.functions[name](*arguments)
        parts = [np.asarray(part) for part in (value if outputs > 1 else (value,))]
        text = ", ".join(f"frombuffer({part.tobytes()!r}, {part.dtype.str!r}).reshape({part.shape})" for part in parts)
        self.table[(name, *(np.asarray(x).tobytes() for x in arguments))] = f"({text})"
        return parts, arguments


def test_answers_learnt_from_one_seed_fail_under_another():
    source = recorded(seed=0)
    assert judged(source, ASSIGNMENT.limits, seed=0).score == 3  # why the seed is the judge's secret
    assert judged(source, ASSIGNMENT.limits, seed=1).score == 0


# --- each wall, alone: with it the probe fails, and without any it does not


PROBE = b"""
import ctypes, os, socket
import numpy as np

def attempt(act):
    try:
        act()
    except (OSError, ValueError, MemoryError):
        return np.array(False)
    return np.array(True)

def reads(): return attempt(lambda: open("/etc/passwd").read())
def reads_packages():
    packages = os.path.join(os.path.dirname(os.__file__), "site-packages")
    return attempt(lambda: open(os.path.join(packages, "pip", "__init__.py")).read())
def imports(): return attempt(lambda: __import__("sqlite3.dump") and __import__("xml.dom.minidom"))
def writes(): return attempt(lambda: (open("/tmp/hostile-mark", "w"), os.remove("/tmp/hostile-mark")))
def works(): return attempt(lambda: open("own", "w").write("x"))
def calls(): return attempt(lambda: socket.socket().close())
def signals(): return attempt(lambda: os.kill(os.getpid(), 0))
def sees(): return attempt(lambda: os.listdir(f"/proc/{os.getppid()}"))
def forks():
    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    return attempt(fork)
def descriptors():
    return np.array([handle for handle in range(256) if attempt(lambda: os.fstat(handle))])
def who(): return np.array([os.getuid(), os.getgid(), os.getpid()])
def allocates(): return attempt(lambda: np.ones(1 << 28))
def rights():
    effective = open("/proc/self/status").read().partition("CapEff:")[2].split()[0]
    return np.array([ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), int(effective, 16)])
def environment(): return np.array([len(name) for name in os.environ])
"""


def probe(walls, *names):
    with Worker(Limits(), walls) as worker:
        assert worker.ask("load", "", (np.frombuffer(PROBE, np.uint8),)).kind == "loaded"
        answers = [worker.ask("call", name, (), 1) for name in names]
        assert {answer.kind for answer in answers} == {"result"}
        return worker, [answer.values[0].tolist() for answer in answers]


def may_administer():
    """Root, and not in a container that takes this right away."""
    try:
        return bool(int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16) >> 21 & 1)
    except (OSError, IndexError):
        return False


AS_ROOT = pytest.mark.skipif(not may_administer(), reason="takes root and its right to administer")


def test_without_walls_the_probe_finds_what_they_keep():
    worker, found = probe((), "reads", "writes", "works", "calls", "signals", "sees", "reads_packages")
    assert found == [True] * 6 + [Path(os.__file__).with_name("site-packages").joinpath("pip", "__init__.py").exists()]
    assert not any(worker.layers[name] for name in ("own processes", "own files", "no network", "refused calls"))


def test_refused_calls_end_network_signals_and_processes():
    worker, found = probe(("calls",), "calls", "signals", "forks", "reads", "works")
    assert worker.layers["refused calls"]
    assert worker.layers["no network"]
    assert found == [False, False, False, True, True]


def test_the_fence_leaves_the_interpreter_and_the_folder():
    worker, found = probe(("files",), "reads", "writes", "sees", "reads_packages", "works", "calls", "imports")
    assert worker.layers["own files"]
    assert found == [False, False, False, False, True, True, True]


@AS_ROOT
def test_a_world_of_its_own_has_no_files_network_or_processes():
    worker, found = probe(("namespaces", "user"), "reads", "writes", "sees", "works", "calls", "who")
    assert worker.layers["own processes"]
    assert worker.layers["other user"]
    assert found[:4] == [False, False, False, True]
    assert found[5] == [worker.uid, worker.uid, 2]


def test_limits_hold_whatever_the_walls():
    _, found = probe((), "allocates", "descriptors", "rights", "environment")
    assert found[0] is False
    assert len(found[1]) == 5  # input, output, errors and the two ends of the channel
    assert found[2] == [1, 0]  # none can be gained, and none is left
    assert len(found[3]) <= 4


def test_where_nothing_may_be_mounted_the_other_walls_stand(monkeypatch):
    kept = json.dumps

    def nowhere(value):
        return kept(value | {"root": "/nowhere"} if "root" in value else value)

    monkeypatch.setattr(sandbox.json, "dumps", nowhere)
    worker, found = probe(WALLS, "reads", "calls", "forks", "works")
    assert not worker.layers["own processes"]
    assert worker.layers["own files"]
    assert worker.layers["no network"]
    assert found == [False, False, False, True]


def test_with_all_walls_every_layer_is_there_or_said_to_be_missing():
    names = ("reads", "writes", "sees", "calls", "signals", "forks", "reads_packages", "works", "imports")
    worker, found = probe(WALLS, *names)
    assert set(worker.layers) == set(sandbox.OFFERED)
    assert found == [False] * 7 + [True] * 2
