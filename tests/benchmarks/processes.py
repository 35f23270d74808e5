"""Workers as seen from outside: started, asked, given up on, ended."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.libraries import OWN, Library

PACKAGE = Path(__file__).parent
# -P: whatever lies in the current folder must not pass for a library
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from benchmarks import worker; sys.path.pop(0); worker.main()"
# settings that force a kernel on OpenBLAS, and slow it: nobody is measured with them
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE")


class WorkerError(Exception):
    """A library could not do what it was asked; one line says why."""


class NotInstalledError(WorkerError):
    """A library is not installed."""


class Process:
    """One library at work in a process of its own."""

    def __init__(self, library: Library, python: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in FORCED}
        if library.name == OWN:  # the hypercon that measures is the one that is measured
            import hypercon

            home = str(Path(hypercon.__file__).parents[1])
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH"))))
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        arguments = [library.package, str(library.file), library.options]
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-c", START, str(PACKAGE.parent), json.dumps(arguments)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True, env=environment,
                start_new_session=True,  # an interrupt is for the one who started it all, and ends these in order
            )  # fmt: skip
        except OSError as error:
            self._complaints.close()
            raise WorkerError(f"{python} does not start ({error.strerror})") from None
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.description = self._answer("starting", 120)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, name: str, *arguments: Any, timeout: float = 120) -> Any:
        """Call a method of the worker; `WorkerError` if it raises, dies or takes longer than ``timeout`` seconds."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # if it has died, that is said below
            self._process.stdin.write(json.dumps([name, arguments]) + "\n")
            self._process.stdin.flush()
        return self._answer(name, timeout)

    def close(self) -> None:
        """End the process, at once."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream:
                    stream.close()
        self._complaints.close()

    def _answer(self, name: str, timeout: float) -> Any:
        try:
            answer = json.loads(self._answers.get(timeout=timeout))
        except queue.Empty:
            self._process.kill()
            raise WorkerError(f"gave no answer within {timeout:g} s ({name})") from None
        if "missing" in answer:
            raise NotInstalledError("is not installed")
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(json.dumps({"error": self._last_words()}))

    def _last_words(self) -> str:
        status = self._process.wait()
        self._complaints.seek(0)
        lines = [line for line in self._complaints.read().splitlines() if line.strip()]
        return f"its process ended with status {status}" + (f" ({lines[-1].strip():.200})" if lines else "")


@contextlib.contextmanager
def started(library: Library, python: str | None) -> Iterator[Process]:
    """A worker for one piece of work: hypercon's in this interpreter, a peer's in ``python``."""
    process = Process(library, interpreter(library, python))
    try:
        yield process
    finally:
        process.close()


def interpreter(library: Library, python: str | None) -> str:
    """What runs a library: this Python, unless peers live in another."""
    return sys.executable if library.name == OWN or python is None else python
