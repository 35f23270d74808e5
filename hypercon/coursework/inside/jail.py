"""The walls around the worker. The keeper, which no student code runs in, builds what the system allows, says what
stands, starts the worker behind it, and kills everything that is left when the worker or the judge is done.

In a world of its own (`world`), the worker ends with the world's first process, and the kernel ends whatever else is in
it. Where there is none, another user (as root), the walls that a process can put around itself, and the keeper's own
sweep are left, and the report says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import world
from .filter import refuse_calls
from .landlock import allow_only
from .system import call, prctl

_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 24, 36, 38


def keep(plan: dict[str, Any], serve: Callable[[], None]) -> None:
    """Build the walls, run ``serve`` behind them in a child, and end with everything that it started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(_PDEATHSIG, signal.SIGKILL)
    prctl(_SUBREAPER, 1)
    own_world = "namespaces" in plan["walls"] and world.leave(plan)
    prctl(_DUMPABLE, 0)  # not before: a user that is leaving writes to its own /proc
    if plan["uid"] is not None and not (own_world or plan["open"]):
        plan["uid"] = None  # another user could not read the interpreter
        os.chown(plan["work"], os.getuid(), -1)
    child = os.fork()
    if child == 0:
        prctl(_PDEATHSIG, signal.SIGKILL)
        try:
            if own_world:
                _first_process(plan, serve)
            else:
                _behind(plan, False, serve)
        finally:
            os._exit(1)
    os.close(plan["status"])  # its end tells the judge that the walls stand
    for inherited in (plan["requests"], plan["answers"]):
        os.close(inherited)
    _wait(child, plan["control"])
    _sweep(child, None if own_world else plan["uid"])
    os._exit(0)


def _first_process(plan: dict[str, Any], serve: Callable[[], None]) -> None:
    """Process 1 of the new world: it ends with the worker, and the kernel then ends whatever the worker started."""
    world.settle(plan)
    plan["work"] = "/work"
    worker = os.fork()
    if worker == 0:
        _behind(plan, True, serve)
        os._exit(0)
    for inherited in (plan["status"], plan["requests"], plan["answers"], plan["control"]):
        os.close(inherited)
    while os.wait()[0] != worker:
        pass
    os._exit(0)


def _behind(plan: dict[str, Any], own_world: bool, serve: Callable[[], None]) -> None:
    """The last walls, which a process puts around itself; then the work."""
    os.setsid()  # a signal to one's own group reaches nobody else
    walls = plan["walls"]
    limited = _limit(plan)
    no_new_rights = prctl(_NO_NEW_PRIVS, 1)  # the kernel takes a fence and a filter only from who has given these up
    fenced = "files" in walls and _fence(plan, own_world)
    other = _become(plan["uid"])
    prctl(_PDEATHSIG, signal.SIGKILL)  # becoming another user took it away
    no_new_rights &= _drop_capabilities()
    filtered = "calls" in walls and refuse_calls()
    layers = {
        "limits": limited,
        "own processes": own_world,
        "own files": own_world or fenced,
        "no network": own_world or filtered,
        "other user": other,
        "no new rights": no_new_rights,
        "refused calls": filtered,
    }
    os.write(plan["status"], json.dumps(layers).encode())
    os.close(plan["status"])
    os.close(plan["control"])
    serve()


def _fence(plan: dict[str, Any], own_world: bool) -> bool:
    """In a world of its own all that is there may be read; elsewhere, what the interpreter needs."""
    if own_world:
        return allow_only(["/"], [], plan["work"])
    places = world.interpreter()
    files = [file for place in places for file in world.without_packages(Path(place))]
    return allow_only([*files, *plan["packages"]], places, plan["work"])


def _limit(plan: dict[str, Any]) -> bool:
    limits = {
        resource.RLIMIT_CPU: plan["cpu_seconds"],
        resource.RLIMIT_AS: plan["memory"],
        resource.RLIMIT_FSIZE: plan["file_size"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 1,
        resource.RLIMIT_CORE: 0,
    }
    held = True
    for kind, value in limits.items():
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):
            held = False
    return held


def _become(uid: int | None) -> bool:
    if uid is None:
        return False
    try:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    except OSError:
        return False
    return True


def _drop_capabilities() -> bool:
    """None is left, and none can be had back."""

    class Head(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    for capability in range(64):
        prctl(_CAPBSET_DROP, capability)
    try:
        call("capset", ctypes.byref(Head(0x20080522, 0)), (ctypes.c_uint32 * 6)())
    except OSError:
        return False
    return True


def _wait(child: int, control: int) -> None:
    """Until the worker has ended, or the judge has closed its end of ``control``. Its number stays taken: it is the
    sweep that lets go of it."""
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if select.select([control], [], [], 0.02)[0]:
            return


def _sweep(child: int, uid: int | None) -> None:
    """End the worker's process group, its user's processes, and everything that has become a child of the keeper. Of a
    world of its own nothing is left once its first process has gone."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            end(child, signal.SIGKILL)
    if uid is not None:
        _kill_all_of(uid)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for orphan in _children():
                    os.kill(orphan, signal.SIGKILL)
                os.waitpid(-1, 0)
        except ProcessLookupError:
            continue
        except OSError:  # there is no child any more
            return


def _kill_all_of(uid: int) -> None:
    killer = os.fork()
    if killer == 0:
        try:
            os.setgid(uid)
            os.setuid(uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []
