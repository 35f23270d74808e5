"""The judge's side of a worker: starting one behind its walls, asking it under a deadline, and ending it for certain.

The judge sends inputs and reads numbers. It never imports, unpickles or runs what a student wrote.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypercon.coursework.exercise import Limits
from hypercon.coursework.inside.frames import Frame, FrameError, pack, unpack
from hypercon.errors import HyperconError

_FOLDER = str(Path(__file__).parent)
_START = "import sys; sys.path[:0] = [{folder!r}]; sys.path += [{site!r}]; from inside.start import main; main()"
_PACKAGES = ("numpy", "numpy.libs", "hypothesis", "sortedcontainers", "_hypothesis_globals.py")
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}

WALLS = ("namespaces", "user", "files", "calls")
"""What a worker asks of the system: a world of its own, a user of its own, a fence around files, refused calls."""

ALWAYS = ("isolated interpreter", "empty environment", "temporary folder", "wall clock")
"""The layers that stand wherever a worker can be started."""

OFFERED = ("limits", "own processes", "own files", "no network", "other user", "no new rights", "refused calls")
"""The layers that some systems, or some users, cannot have."""


class WorkerError(HyperconError):
    """The worker can be asked nothing more; the message says what became of it."""


class Worker:
    """A student's text in a process of its own.

    Parameters
    ----------
    limits : Limits
    walls : sequence of str, default WALLS
        What to ask of the system. The limits and the isolated interpreter are always there.
    deadline : float, optional
        By ``time.monotonic()``; the default is ``limits.seconds`` from now.
    required : sequence of str, default ()
        Layers without which there is no worker.

    Attributes
    ----------
    layers : dict of str to bool
        Which of `OFFERED` stand, as the keeper says before any of the student's code has run.
    pid, uid : int, int or None
        The keeper's process and the worker's own user: for whoever looks for what is left of a worker.

    Raises
    ------
    WorkerError
        No worker can be started here, or none with the layers that are required.
    """

    def __init__(
        self,
        limits: Limits,
        walls: Sequence[str] = WALLS,
        deadline: float | None = None,
        required: Sequence[str] = (),
    ):
        if sys.platform != "linux":
            raise WorkerError(f"submissions are graded on Linux, and this is {sys.platform}: grade in a container")
        self.limits = limits
        self._deadline = time.monotonic() + limits.seconds if deadline is None else deadline
        self._folder = Path(tempfile.mkdtemp(prefix="hypercon-worker-"))
        self._folder.chmod(0o755)
        work, root = self._folder / "work", self._folder / "root"
        work.mkdir()
        root.mkdir()
        self.uid = _unused_uid() if "user" in walls and os.getuid() == 0 else None
        try:
            os.chown(work, -1 if self.uid is None else self.uid, -1)
        except OSError:  # a container that maps few users
            self.uid = None
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        status_read, status = os.pipe()
        control, self._control = os.pipe()
        given = (requests, answers, status, control)
        site = _site()
        plan = {
            "root": str(root), "work": str(work), "uid": self.uid, "walls": list(walls), "packages": _packages(site),
            "open": _open_to_others(site) and _open_to_others(Path(sysconfig.get_path("stdlib"))),
            "requests": requests, "answers": answers, "status": status, "control": control, "folder": _FOLDER,
            "cpu_seconds": limits.cpu_seconds, "memory": limits.memory, "file_size": limits.file_size,
        }  # fmt: skip
        start = _START.format(folder=_FOLDER, site=str(site))
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-u", "-c", start, json.dumps(plan)],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                cwd=work,
                pass_fds=given,
                start_new_session=True,
            )
        except OSError as error:
            for handle in (*given, self._requests, self._answers, status_read, self._control):
                os.close(handle)
            self._output.close()
            _remove(self._folder)
            raise WorkerError(f"no worker can be started: {error}") from None
        self.pid = self._process.pid
        for inherited in given:
            os.close(inherited)
        for ours in (self._requests, self._answers):
            os.set_blocking(ours, False)
        try:
            self.layers = self._read_layers(status_read)
            missing = [name for name in required if not self.layers[name]]
            if missing:
                raise WorkerError(
                    f"the sandbox lacks {', '.join(missing)}, which are required: grade as root on a Linux that has "
                    "namespaces, or do not require the whole sandbox"
                )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(status_read)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def ask(self, kind: str, text: str = "", values: Sequence[Any] = (), count: int = 0) -> Frame:
        """Send a request and return its answer.

        The nonce is drawn when the request is sent, so nothing written before can be its answer.

        Raises
        ------
        WorkerError
            It ended, was too slow, or what it sent is no answer to this request.
        """
        self.refuse_early_words()
        self._nonce = secrets.token_hex(8)
        self._call_ends = min(time.monotonic() + self.limits.seconds_per_call, self._deadline)
        self.send(Frame(kind, self._nonce, text, count, tuple(values)))
        return self.receive()

    def send(self, frame: Frame) -> None:
        """Write a frame, within the time of the request that is being answered."""
        view = memoryview(pack(frame))
        while view:
            self._await(writing=True)
            try:
                view = view[os.write(self._requests, view[: 1 << 16]) :]
            except BrokenPipeError:
                raise WorkerError("the program ended before it answered") from None
            except BlockingIOError:
                continue

    def receive(self) -> Frame:
        """Read a frame that answers the last request."""
        try:
            frame = unpack(self._read)
        except FrameError as error:
            raise WorkerError(f"the program wrote into the judge's channel: {error}") from None
        if frame.nonce != self._nonce:
            raise WorkerError("the program wrote into the judge's channel: an answer to another question")
        return frame

    def refuse_early_words(self) -> None:
        """Whoever answers before being asked has not computed the answer."""
        if select.select([self._answers], [], [], 0)[0]:
            raise WorkerError("the program ended, or wrote into the judge's channel, before it was asked")

    def printed(self, limit: int = 2000) -> str:
        """The end of what the program printed, as text."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - limit))
        return self._output.read(limit).decode("utf-8", "replace")

    def close(self) -> None:
        """End the worker and everything it started, and remove its folder. Afterwards nothing of it runs."""
        if self._process.returncode is None:
            os.close(self._control)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            os.close(self._requests)
            os.close(self._answers)
            self._output.close()
        _remove(self._folder)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._await(writing=False)
            try:
                part = os.read(self._answers, min(count - len(parts), 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise WorkerError("the program ended before it answered")
            parts += part
        return bytes(parts)

    def _await(self, writing: bool) -> None:
        left = self._call_ends - time.monotonic()
        readers, writers = ([], [self._requests]) if writing else ([self._answers], [])
        if left <= 0 or not any(select.select(readers, writers, [], left)):
            if self._call_ends == self._deadline:
                raise WorkerError(f"the program used up its {self.limits.seconds:g} s")
            raise WorkerError(f"the program took longer than {self.limits.seconds_per_call:g} s")

    def _read_layers(self, status: int) -> dict[str, bool]:
        told = b""
        while select.select([status], [], [], 30)[0]:
            part = os.read(status, 4096)
            if not part:
                break
            told += part
        try:
            return {str(name): bool(stands) for name, stands in json.loads(told).items()}
        except ValueError:
            why = self.printed().strip()[-300:] or "it said nothing"
            raise WorkerError(f"no worker can be started: {why}") from None


def _remove(folder: Path) -> None:
    """A folder with whatever is in it: a worker without a world of its own can leave closed folders, or ones that are
    nested too deep for Python."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", folder], check=False, capture_output=True)


def _site() -> Path:
    """The folder that NumPy lies in, found without importing anything."""
    spec = importlib.util.find_spec("numpy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _packages(site: Path) -> list[str]:
    """What of the installed packages a worker may see."""
    native = [path.name for path in site.glob("*__mypyc*.so")]
    return [str(site / name) for name in (*_PACKAGES, *native) if (site / name).exists()]


def _open_to_others(path: Path) -> bool:
    """Can a user without rights reach this?"""
    resolved = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (resolved, *resolved.parents))


def _unused_uid() -> int:
    """A user that nobody is: one for each worker, so that ending all of its processes ends nothing else."""
    return random.SystemRandom().randrange(1 << 20, 1 << 31)
