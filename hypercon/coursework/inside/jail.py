"""The walls around the worker. The keeper, which no student code runs in, builds what the system allows, says what
stands, starts the worker behind it, and kills everything that is left when the worker or the judge is done.

Where namespaces can be had, the worker's world is a bare root: the interpreter, the C libraries and the packages named
in the plan, all read-only; no network; no other process to see; and when its first process ends, the kernel ends all
others. Where they cannot, another user (as root), limits and the keeper's own sweep are left, and the report says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 24, 36, 38
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")

_libc = ctypes.CDLL(None, use_errno=True)


def keep(plan: dict[str, Any], serve: Callable[[], None]) -> None:
    """Build the walls, run ``serve`` behind them in a child, and end with everything that it started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(_PDEATHSIG, signal.SIGKILL)
    _prctl(_SUBREAPER, 1)
    _prctl(_DUMPABLE, 0)
    layers: dict[str, bool] = {}
    layers["namespaces"] = plan["namespaces"] and _unshare()
    if not (layers["namespaces"] or plan["open"]):
        plan["uid"] = None  # another user could not read the interpreter
    child = os.fork()
    if child == 0:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        try:
            if layers["namespaces"]:
                _first_process(plan, layers, serve)
            else:
                _behind(plan, layers, serve)
        finally:
            os._exit(1)
    os.close(plan["status"])  # its end tells the judge that the walls stand
    for inherited in (plan["requests"], plan["answers"]):
        os.close(inherited)
    _wait(child, plan["control"])
    _sweep(child, plan["uid"])
    os._exit(0)


def _unshare() -> bool:
    """Namespaces of one's own: as root at once, else inside a user namespace if the system lets one have it."""
    spaces = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    uid, gid = os.getuid(), os.getgid()
    try:
        if uid == 0:
            _call("unshare", spaces)
        else:
            _call("unshare", spaces | _NEWUSER)
            for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                Path(f"/proc/self/{name}").write_text(line)
        _call("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    except OSError:
        return False
    return True


def _first_process(plan: dict[str, Any], layers: dict[str, bool], serve: Callable[[], None]) -> None:
    """Process 1 of the namespace: it ends with the worker, and the kernel then ends whatever the worker started."""
    _bare_root(plan)
    worker = os.fork()
    if worker == 0:
        _behind(plan, layers, serve)
        os._exit(0)
    for inherited in (plan["status"], plan["requests"], plan["answers"], plan["control"]):
        os.close(inherited)
    while os.wait()[0] != worker:
        pass
    os._exit(0)


def _bare_root(plan: dict[str, Any]) -> None:
    root = plan["root"]
    _call("mount", b"none", os.fsencode(root), b"tmpfs", _NOSUID | _NODEV, b"size=64m,mode=755")
    places = [path for path in _LIBRARIES if Path(path).is_dir()]
    stdlib = Path(sysconfig.get_path("stdlib"))
    places += [str(folder) for folder in (stdlib.parent, Path(sys.base_prefix, "lib")) if folder.is_dir()]
    for place in dict.fromkeys(places):
        if not Path(root + place).is_dir():
            _bind(place, root)
    for place in dict.fromkeys(places):
        for packages in ("site-packages", "dist-packages"):
            for folder in Path(root + place).glob(f"python*/{packages}"):
                _call("mount", b"none", os.fsencode(folder), b"tmpfs", _NOSUID | _NODEV, b"size=64k,mode=755")
    for package in plan["packages"]:
        _bind(package, root)
    work = Path(root, "work")
    work.mkdir()
    work.chmod(0o777)
    os.chroot(root)
    os.chdir("/work")


def _bind(place: str, root: str) -> None:
    target = Path(root + place)
    if Path(place).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    name = os.fsencode(target)
    _call("mount", os.fsencode(place), name, None, _BIND | _REC, None)
    # a user namespace may not lift the flags that a mount came with, so the gentlest form comes first
    for flags in (_RDONLY | _NOSUID | _NODEV, _RDONLY):
        with contextlib.suppress(OSError):
            _call("mount", b"none", name, None, _REMOUNT | _BIND | flags, None)
            return


def _behind(plan: dict[str, Any], layers: dict[str, bool], serve: Callable[[], None]) -> None:
    """The last walls, which a process puts around itself; then the work."""
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if not layers["namespaces"]:
        os.setpgid(0, 0)
    layers["limits"] = _limit(plan)
    layers["other user"] = _become(plan["uid"])
    layers["no new privileges"] = _drop_privileges()
    os.write(plan["status"], json.dumps(layers).encode())
    os.close(plan["status"])
    os.close(plan["control"])
    serve()


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


def _drop_privileges() -> bool:
    """No capability is left, and none can be gained by running a program."""

    class Head(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    for capability in range(64):
        _prctl(_CAPBSET_DROP, capability)
    none = (ctypes.c_uint32 * 6)()
    dropped = not hasattr(_libc, "capset") or _libc.capset(ctypes.byref(Head(0x20080522, 0)), none) == 0
    return dropped and _prctl(_NO_NEW_PRIVS, 1)


def _wait(child: int, control: int) -> None:
    """Until the worker has ended, or the judge has closed its end of ``control``."""
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if select.select([control], [], [], 0.02)[0]:
            return


def _sweep(child: int, uid: int | None) -> None:
    """End the worker's process group, its user's processes, and everything that has become a child of the keeper."""
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
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


def _prctl(option: int, value: int) -> bool:
    """Ask Linux; elsewhere there is nothing to ask."""
    return hasattr(_libc, "prctl") and _libc.prctl(option, value, 0, 0, 0) == 0


def _call(name: str, *arguments: Any) -> None:
    function = getattr(_libc, name, None)
    if function is None or function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
