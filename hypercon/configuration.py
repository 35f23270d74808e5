"""What this installation computes with: versions, the BLAS library and its threads, cores, GPUs."""

from __future__ import annotations

import platform
import sys
from typing import Any, Literal

import numpy as np

from hypercon import threads
from hypercon.backend import count_gpus
from hypercon.errors import InputError
from hypercon.version import __version__

OPTIONAL = ("matplotlib", "tqdm", "threadpoolctl", "cupy", "mpi4py", "pooch", "safetensors", "hypothesis")


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Print what this installation computes with, for a report of a problem or of a timing.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        As `numpy.show_config`: print the configuration, or return it.

    Returns
    -------
    dict or None
        With ``"dicts"``: ``"versions"`` (of hypercon, Python, NumPy, and of the optional packages that are installed),
        ``"blas"`` (a list of the libraries that are loaded: name, version, kernel, threads), ``"cores"`` (how many
        this process may use), ``"platform"``, and ``"gpus"`` (the CUDA devices' names, and in words why there are no
        more).

    Raises
    ------
    InputError
        The mode is neither.

    Examples
    --------
    >>> import hypercon as hc
    >>> hc.show_config("dicts")["versions"]["hypercon"] == hc.__version__
    True
    >>> hc.show_config()  # doctest: +ELLIPSIS
    hypercon ...
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise InputError(f'mode got {mode!r:.60}, expected "stdout" or "dicts"')
    found = _configuration()
    if mode == "dicts":
        return found
    print("\n".join(_lines(found)))
    return None


def _configuration() -> dict[str, Any]:
    versions = {"hypercon": __version__, "python": platform.python_version(), "numpy": np.__version__}
    versions |= {name: version for name in OPTIONAL if (version := _version(name))}
    names, reason = _gpus()
    return {
        "versions": versions,
        "blas": _blas(),
        "cores": threads.cores(),
        "platform": f"{platform.system()} {platform.machine()}",
        "gpus": {"names": names, "reason": reason},
    }


def _lines(found: dict[str, Any]) -> list[str]:
    versions = dict(found["versions"])
    hypercon, python, numpy = (versions.pop(name) for name in ("hypercon", "python", "numpy"))
    missing = [name for name in OPTIONAL if name not in versions]
    blas = [
        f"{library['name']} {library['version']}, {library['kernel']} kernel, {library['threads']} thread(s)"
        for library in found["blas"]
    ]
    rows = [
        ("hypercon", hypercon),
        ("python", f"{python} on {found['platform']}, {found['cores']} core(s)"),
        ("numpy", numpy),
        *[("blas", library) for library in blas or ["none that threadpoolctl knows"]],
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items()) or "none"),
        *([("missing", ", ".join(missing))] if missing else []),
        ("gpus", ", ".join(found["gpus"]["names"]) or f"none: {found['gpus']['reason']}"),
    ]
    return [f"{name:<10}{value}" for name, value in rows]


def _version(name: str) -> str | None:
    """Of an installed package; CuPy is installed under a name for each version of CUDA."""
    from importlib import metadata  # slow to load, for a thing seldom asked

    for distribution in [f"cupy-cuda{major}x" for major in (12, 13)] + ["cupy"] if name == "cupy" else [name]:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _blas() -> list[dict[str, Any]]:
    # of its own and not that of `threads`, which remembers what was loaded at its first use
    from threadpoolctl import threadpool_info

    return [
        {
            "name": library["internal_api"],
            "version": library["version"],
            "kernel": library.get("architecture", "unknown"),
            "threads": library["num_threads"],
        }
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def _gpus() -> tuple[list[str], str]:
    count, reason = count_gpus()
    if not count:
        return [], reason
    properties = sys.modules["cupy"].cuda.runtime.getDeviceProperties
    return [f"cuda:{i} {properties(i)['name'].decode()}" for i in range(count)], reason
