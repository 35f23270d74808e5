"""The worker: loads the student's text and answers the judge's calls, one frame for each. All of it is at the
student's mercy, and nothing it says is believed but as numbers to be compared.
"""

from __future__ import annotations

import ast
import importlib.abc
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .frames import TEXT_LIMIT, Frame, FrameError, pack, unpack

BLOCKED = ("torch", "jax", "scipy", "autograd", "sklearn", "tensorflow", "cupy", "tinygrad", "hypercon")
SELDOM = ("eval", "exec", "compile", "open", "globals", "vars", "setattr", "delattr", "__import__", "__builtins__")


class Blocker(importlib.abc.MetaPathFinder):
    """Says why a package cannot be had, where there would be one."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not part of this assignment: write it with NumPy")


def serve(requests: int, answers: int) -> None:
    """Answer until the judge has no more to ask."""
    sys.meta_path.insert(0, Blocker())
    module = types.ModuleType("submission")
    sys.modules["submission"] = module
    read = reader(requests)
    while True:
        request = unpack(read)
        if request.kind == "stop":
            return
        try:
            answer = pack(_answer(request, module, lambda frame: ask(frame, read, answers)))
        except BaseException as error:  # also SystemExit: an exit answers no question
            answer = pack(Frame("error", request.nonce, _told(error)))
        write(answers, answer)


def _answer(request: Frame, module: types.ModuleType, ask: Callable[[Frame], Frame]) -> Frame:
    if request.kind == "allow":
        if "hypothesis" in request.text.split():
            set_hypothesis()
        return Frame("allowed", request.nonce)
    if request.kind == "uses":
        return Frame("uses", request.nonce, " ".join(uses(request.values[0].tobytes())))
    if request.kind == "load":
        exec(compile(request.values[0].tobytes(), "submission.py", "exec"), module.__dict__)
        return Frame("loaded", request.nonce)
    if request.kind == "test":
        return Frame("verdict", request.nonce, _verdict(module, request.nonce, ask))
    function = getattr(module, request.text, None)
    if function is None:
        return Frame("missing", request.nonce)
    inputs = list(request.values)
    result = function(*inputs)
    results = [result] if request.count == 1 else _several(result, request.count)
    plain = [as_plain(value) for value in results]
    return Frame("result", request.nonce, "", len(plain), (*plain, *inputs))


def uses(source: bytes) -> list[str]:
    """What a text imports, and what it names that few solutions need. Parsed here, where a text that breaks the parser
    breaks nothing else, and before any of it has run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # loading it says why
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").partition(".")[0])
        elif isinstance(node, ast.Name) and node.id in SELDOM:
            found.add(f"{node.id}()")
    return sorted(found)


def _several(result: Any, count: int) -> Sequence[Any]:
    if not isinstance(result, tuple | list) or len(result) != count:
        raise TypeError(f"expected {count} results as a tuple, got {type(result).__name__}")
    return result


def as_plain(value: Any) -> np.ndarray:
    """A result as an array of its own; a tensor of the student's is taken by its ``data``."""
    data = getattr(value, "data", None)
    if not isinstance(value, np.ndarray | np.generic) and isinstance(data, np.ndarray):
        value = data
    array = np.array(value, subok=False)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        return array.astype(np.int64)
    return array


def _verdict(module: types.ModuleType, nonce: str, ask: Callable[[Frame], Frame]) -> str:
    """Run the student's tests on a loss that lives with the judge: here there is nothing of it but its answers."""

    def info_nce(z1: Any, z2: Any, *, temperature: float) -> float:
        values = (np.asarray(z1, np.float64), np.asarray(z2, np.float64), float(temperature))
        answer = ask(Frame("ask", nonce, "", 0, values))
        if answer.kind == "refusal":
            raise ValueError(answer.text)
        return answer.values[0]

    return verdict(module.__dict__, info_nce)


def verdict(names: Mapping[str, Any], subject: Callable[..., Any]) -> str:
    """Run tests until one fails: "passed", "none" where there are none, or "failed" with the test and what it said.

    Those that Hypothesis repeats come last, as they take longer.
    """
    tests = [(name, value) for name, value in names.items() if name.startswith("test_") and callable(value)]
    if not tests:
        return "none"
    for name, test in sorted(tests, key=lambda named: hasattr(named[1], "hypothesis")):
        try:
            test(subject)
        except (FrameError, KeyboardInterrupt):
            raise
        except BaseException as error:  # whatever a test raises, it has found something
            return f"failed {name}: {type(error).__name__}: {error}"[:TEXT_LIMIT]
    return "passed"


def set_hypothesis() -> None:
    """Tests written from now on draw the same few examples in every run, and do not look for smaller ones."""
    import hypothesis  # half a second, for the one assignment that needs it

    hypothesis.settings.register_profile(
        "graded",
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
    )
    hypothesis.settings.load_profile("graded")


def ask(frame: Frame, read: Callable[[int], bytes], answers: int) -> Frame:
    """A question to the judge, and its answer."""
    write(answers, pack(frame))
    return unpack(read)


def reader(handle: int) -> Callable[[int], bytes]:
    """A function that returns exactly as many bytes as it is asked for."""

    def read(count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = os.read(handle, min(count - len(parts), 1 << 20))
            if not part:
                os._exit(0)  # the judge has gone
            parts += part
        return bytes(parts)

    return read


def write(handle: int, data: bytes) -> None:
    """All of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _told(error: BaseException) -> str:
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "submission.py":
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{line}"[:TEXT_LIMIT]
