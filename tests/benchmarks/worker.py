"""The process in which one library works: it answers lines of JSON with lines of JSON, until its input ends.

It imports nothing of hypercon's unless that is its library, so that it runs in any interpreter that has NumPy. What a
library prints goes to standard error; standard output is for answers.
"""

import ctypes
import gc
import importlib.util
import json
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from benchmarks import work

WARM_UP_CALLS, WARM_UP_SECONDS = 2, 0.3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Worker:
    """A library, and the piece of work that it holds ready."""

    def __init__(self, package, file, options):
        spec = importlib.util.spec_from_file_location(f"benchmark_peer_{Path(file).stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.package = package
        self.peer = module.Peer(**options)
        self.work = None

    def describe(self):
        """Versions, and which threads it computes with."""
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        try:
            versions[self.package] = metadata.version(self.package)
        except metadata.PackageNotFoundError:
            versions[self.package] = getattr(sys.modules.get(self.package), "__version__", "unknown")
        threads = self.peer.threads() if hasattr(self.peer, "threads") else _numpy_blas()
        return {"versions": versions, "threads": threads}

    def rates(self):
        """What the library's NumPy can do in a second."""
        return self.peer.rates()

    def offers(self, kind):
        """Does the library have this kind of work?"""
        return hasattr(self.peer, kind)

    def prepare(self, kind, settings, save):
        """Build the work, compute it once and save the results."""
        self._build(kind, settings)
        start = time.perf_counter()
        results = self.work.results()
        seconds = time.perf_counter() - start
        np.savez(save, **{name: np.asarray(value) for name, value in results.items()})
        return seconds

    def warm_up(self):
        """The seconds that a call takes once the first ones are over."""
        seconds = []
        start = time.perf_counter()
        while len(seconds) < WARM_UP_CALLS or (time.perf_counter() - start < WARM_UP_SECONDS and len(seconds) < 20):
            seconds.append(self._timed())
            if seconds[-1] > WARM_UP_SECONDS:
                break
        return min(seconds)

    def time(self, calls):
        """The seconds of some calls in a row."""
        return [self._timed() for _ in range(calls)]

    def measure(self, kind, settings, small, compiles, seconds):
        """The peak of memory above the inputs in the first call of a process, and the seconds of calls.

        What loads on first use is loaded by a call at a small size. Where the first call compiles, the second is
        measured. Calls go on for ``seconds``, if the first does not take as long.
        """
        self._build(kind, settings | small)
        self.work.run()
        self._build(kind, settings)
        if compiles:
            self.work.run()
        gc.collect()
        _trim()
        before = _start_peak()
        start = time.perf_counter()
        kept = self.work.run()
        first = time.perf_counter() - start
        peak = None if before is None else max(0, _peak() - before)
        del kept
        calls = [first]
        while sum(calls) < seconds:
            calls.append(self._timed())
        return {"bytes": peak, "seconds": calls[1:] or calls}

    def _build(self, kind, settings):
        self.work = None
        gc.collect()
        self.work = getattr(self.peer, kind)(work.draw(kind, settings), **settings)

    def _timed(self):
        start = time.perf_counter()
        self.work.run()
        return time.perf_counter() - start


def _numpy_blas():
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "NumPy's BLAS (threadpoolctl, which would name it, is not installed)"
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return "; ".join(
        f"{library['internal_api']} {library['version']}, {library.get('architecture', 'unknown')} kernel, "
        f"{library['num_threads']} thread(s)"
        for library in found[:1]  # NumPy's; whatever else a library has loaded came later
    )


def _start_peak():
    """Set the high-water mark of resident memory back, and return what is resident; None where that cannot be done."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _peak():
    return _status("VmHWM")


def _status(name):
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _trim():
    """Give back what the allocator keeps of freed memory, or it would be used again without being seen."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    package, file, options = json.loads(sys.argv[1])
    try:
        worker = Worker(package, file, options)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0] == package
        answer({"missing": True} if missing else {"error": _in_one_line(error)})
        return
    except Exception as error:
        answer({"error": _in_one_line(error)})
        return
    answer({"value": worker.describe()})
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer({"value": getattr(worker, name)(*arguments)})
        except Exception as error:  # a peer's own, of whatever kind: the others go on without it
            answer({"error": _in_one_line(error)})


def _in_one_line(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__
