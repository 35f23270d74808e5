"""A world of its own for the worker, where the kernel gives one: no other process to see, no network, and a bare root
that holds the interpreter, the C libraries and the packages of the plan, all read-only, with one folder to write to.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .system import call

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_PACKAGES = ("site-packages", "dist-packages")


def leave(plan: dict[str, Any]) -> bool:
    """Go into namespaces of one's own, where children will live. All of it is tried in a child first: one that fails
    half way, as where a container forbids mounting, cannot come back."""
    trial = os.fork()
    if trial == 0:
        try:
            _leave()
            settle(plan)
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitpid(trial, 0)[1] != 0:
        return False
    _leave()
    return True


def _leave() -> None:
    spaces = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        call("unshare", spaces)
    else:
        call("unshare", spaces | _NEWUSER)
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            Path(f"/proc/self/{name}").write_text(line)
    call("mount", b"none", b"/", None, _REC | _PRIVATE, None)


def interpreter() -> list[str]:
    """The folders that an interpreter needs to go on importing."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = [path for path in _LIBRARIES if Path(path).is_dir()]
    found += [str(folder) for folder in (stdlib.parent, Path(sys.base_prefix, "lib")) if folder.is_dir()]
    return list(dict.fromkeys(found))


def without_packages(place: Path) -> Iterator[str]:
    """What lies in a folder of libraries, but for the packages that are installed beside the interpreter's own."""
    for entry in place.iterdir():
        if entry.name.startswith("python") and entry.is_dir():
            yield from without_packages(entry)
        elif entry.name not in _PACKAGES:
            yield str(entry)


def settle(plan: dict[str, Any]) -> None:
    """Make the bare root and go to live there."""
    root = plan["root"]
    call("mount", b"none", os.fsencode(root), b"tmpfs", _NOSUID | _NODEV, b"size=64m,mode=755")
    places = interpreter()
    for place in places:
        if not Path(root + place).is_dir():
            _bind(place, root)
    for place in places:
        for packages in _PACKAGES:  # what else is installed stays outside
            for folder in Path(root + place).glob(f"python*/{packages}"):
                call("mount", b"none", os.fsencode(folder), b"tmpfs", _NOSUID | _NODEV, b"size=64k,mode=755")
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
    call("mount", os.fsencode(place), name, None, _BIND | _REC, None)
    # a user namespace may not lift the flags that a mount came with, so the gentlest form comes first
    for flags in (_RDONLY | _NOSUID | _NODEV, _RDONLY):
        with contextlib.suppress(OSError):
            call("mount", b"none", name, None, _REMOUNT | _BIND | flags, None)
            return
