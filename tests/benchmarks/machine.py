"""The machine that is measured on: what it is, and who else was using it."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from hypercon import threads

BUSY = 0.05  # share of the cores' time from which on others are told of
ADVICE = "measure again on a quiet machine before you rely on these figures"
_IDLE = (3, 4)  # fields of /proc/stat's first line: idle, and waiting for a disk
_COUNTED = 8  # user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already


def description() -> dict[str, str | int]:
    """Processor, cores that may be used, system."""
    return {
        "processor": _processor(),
        "cores": threads.cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


class Meter:
    """The share of the cores' time that went to other processes than this one and its workers, while it is entered."""

    def __init__(self, workers: Iterable[int]) -> None:
        self._processes = [os.getpid(), *workers]
        self.others: float | None = None

    def __enter__(self) -> "Meter":
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._read()
        if self._before is None or after is None:
            return
        taken, own, seconds = (now - then for now, then in zip(after, self._before, strict=True))
        if seconds > 0:
            self.others = max(0.0, (taken - own) / (seconds * (os.cpu_count() or 1)))

    def _read(self) -> tuple[float, float, float] | None:
        try:
            ticks = os.sysconf("SC_CLK_TCK")
            line = Path("/proc/stat").read_text().split("\n", 1)[0]
            counted = [int(field) for field in line.split()[1 : 1 + _COUNTED]]
            own = sum(_ticks(process) for process in self._processes)
            ended = os.times()  # workers that were started and ended meanwhile
            own += round((ended.children_user + ended.children_system) * ticks)
        except (OSError, ValueError, AttributeError):  # not a Linux
            return None
        taken = sum(value for i, value in enumerate(counted) if i not in _IDLE)
        return taken / ticks, own / ticks, perf_counter()


def _ticks(process: int) -> int:
    """User and system time of a process; its name, which may hold anything, is skipped."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
