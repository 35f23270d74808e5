"""The libraries that can take part, and what to say of one that is not there."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OWN = "hypercon"
BASE = "torch"  # what ratios are given to first


@dataclass(frozen=True)
class Library:
    """One column of the table.

    Attributes
    ----------
    name : str
        What ``--peers`` takes.
    file : Path
        Where its `Peer` is.
    package : str
        What Python imports and pip installs.
    label : str
        For the table.
    compiles : bool
        The first call at a size compiles: neither its time nor its memory is that of the work.
    options : dict
        For its `Peer`.
    """

    name: str
    file: Path
    package: str
    label: str
    compiles: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def _library(name: str, label: str, package: str | None = None, **settings: Any) -> Library:
    package = package or name
    return Library(name, Path(__file__).parent / "peers" / f"{package}.py", package, label, **settings)


LIBRARIES = {
    library.name: library
    for library in (
        _library(OWN, "hypercon"),
        _library("torch", "PyTorch"),
        _library("torch-compile", "torch.compile", "torch", compiles=True, options={"compiled": True}),
        _library("jax", "JAX jit", compiles=True),
        _library("autograd", "autograd"),
        _library("mygrad", "MyGrad"),
        _library("tinygrad", "tinygrad", compiles=True),
    )
}
PEERS = [name for name in LIBRARIES if name != OWN]
