"""The rows of the table: which work, at which size, how closely results must agree, and what it should come to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One piece of work.

    Attributes
    ----------
    name, group : str
        What ``--only`` takes.
    label : str
        For the table.
    work : str
        The kind of work: a name of work.INPUTS, and of the method that a peer does it with.
    settings : dict
        Sizes and constants.
    small : dict
        What replaces them to warm a process up before its memory is measured.
    tolerances : (float, float)
        Largest relative error of the loss, and of gradients relative to their largest entry.
    targets : dict
        For each peer the largest ratio of times that will do.
    memory_targets : dict
        For each peer the largest ratio of peak memory above the inputs that will do; under ``"MiB"`` the most of all.
    error_target : float or None
        Where accuracy is what is measured: the largest relative error of the loss that will do. Nothing is timed.
    items : int
        Images in one run, where images a second are told.
    large : bool
        Left out unless asked for.
    memory : bool
        Peak memory is measured.
    alone : bool
        No peer can do it in reasonable memory.
    """

    name: str
    group: str
    label: str
    work: str
    settings: dict[str, Any]
    small: dict[str, Any] = field(default_factory=dict)
    tolerances: tuple[float, float] = (1e-5, 1e-4)
    targets: dict[str, float] = field(default_factory=dict)
    memory_targets: dict[str, float] = field(default_factory=dict)
    error_target: float | None = None
    items: int = 0
    large: bool = False
    memory: bool = False
    alone: bool = False


_SLOWER_PEERS = {"autograd": 1.0, "mygrad": 1.0}
_COMPILERS = {"torch-compile": 1.0, "jax": 1.0}


def _loss(group: str, label: str, work: str, count: int, target: float, *, most: int, **settings: Any) -> Row:
    compilers = dict.fromkeys(_COMPILERS, 0.7) if count == 4096 else _COMPILERS
    memory_targets = {"torch": 1 / 12} if (group, count) == ("symmetric", 16384) else {}
    return Row(
        name=f"{group}-{count}",
        group=group,
        label=f"{label}, N = {count:,}",
        work=work,
        settings={"count": count, "dim": 128, "temperature": 0.1} | settings,
        small={"count": 16},
        targets={"torch": target} | compilers | _SLOWER_PEERS,
        memory_targets=memory_targets,
        memory=count >= 4096,
        large=count == most,
    )


def _cnn(side: int, channels: int, target: float) -> Row:
    return Row(
        name=f"cnn-{side}",
        group="cnn",
        label=f"CNN step, 256 x 2 views, {side}x{side}x{channels}",
        work="cnn_step",
        settings={"count": 512, "side": side, "channels": channels, "kernels": (32, 64, 128), "dim": 128,
                  "temperature": 0.2, "rate": 0.05, "momentum": 0.9},
        small={"count": 8},
        tolerances=(1e-4, 2e-2),  # float32 leaves 1e-3 to 4e-3 behind batch normalisation, in any library
        targets={"torch": target, "torch-compile": 1.0, "jax": 1.0, "mygrad": 0.1},
        memory=True,
    )  # fmt: skip


ROWS = [
    *[_loss("one-way", "InfoNCE, one way", "info_nce", count, target, most=16384, symmetric=False)
      for count, target in ((256, 0.75), (1024, 0.55), (4096, 0.40), (16384, 0.42))],
    *[_loss("symmetric", "InfoNCE, symmetric", "info_nce", count, target, most=16384, symmetric=True)
      for count, target in ((256, 0.75), (1024, 0.5), (4096, 0.22), (16384, 0.22))],
    *[_loss("nt-xent", "NT-Xent", "nt_xent", count, target, most=8192)
      for count, target in ((256, 0.7), (1024, 0.5), (4096, 0.22), (8192, 0.25))],
    Row(
        name="uniformity-10000",
        group="uniformity",
        label="uniformity, 10,000 points",
        work="uniformity",
        settings={"count": 10_000, "dim": 128, "t": 2.0},
        small={"count": 16},
        targets={"torch": 0.25},
        memory=True,
    ),
    Row(
        name="uniformity-50000",
        group="uniformity",
        label="uniformity, 50,000 points",
        work="uniformity",
        settings={"count": 50_000, "dim": 128, "t": 2.0},
        small={"count": 16},
        memory_targets={"MiB": 200},
        memory=True,
        large=True,
        alone=True,  # one matrix of pairs is 10 GB
    ),
    Row(
        name="mlp",
        group="mlp",
        label="MLP step, 1,024 x 784-512-128",
        work="mlp_step",
        settings={"count": 1024, "widths": (784, 512, 128), "temperature": 0.2, "rate": 0.05, "momentum": 0.9},
        small={"count": 16},
        tolerances=(1e-5, 1e-3),
        targets={"torch": 0.85} | _SLOWER_PEERS,
        memory=True,
    ),
    _cnn(28, 1, 0.65),
    _cnn(32, 3, 0.50),
    Row(
        name="training",
        group="training",
        label="training loop, 28x28x1, views included",
        work="training",
        settings={"images": 1024, "batch": 256, "side": 28, "channels": 1, "kernels": (32, 64, 128), "dim": 128,
                  "temperature": 0.2, "rate": 2e-3, "window": 0.9, "brightness": 0.1, "noise": 0.03},
        small={"images": 8, "batch": 4},
        tolerances=(1e-4, 2e-2),
        targets={"torch": 1.0},
        items=1024,
    ),
    Row(
        name="chain",
        group="chain",
        label="1,000 operations on 8 numbers",
        work="chain",
        settings={"operations": 1000},
        tolerances=(1e-4, 1e-4),  # a thousand roundings
        small={"operations": 10},
        targets={"torch": 0.5} | _SLOWER_PEERS,
    ),
    *[Row(
        name=f"accuracy-{group}",
        group="accuracy",
        label=f"accuracy, {label}, positives at 1",
        work=work,
        settings={"count": 256, "dim": 128, "noise": 0.0, "temperature": 0.02} | settings,
        error_target=1e-5,
    ) for group, label, work, settings in (
        ("one-way", "InfoNCE", "info_nce", {"symmetric": False}),
        ("symmetric", "symmetric", "info_nce", {"symmetric": True}),
        ("nt-xent", "NT-Xent", "nt_xent", {}),
    )],
]  # fmt: skip


def select(only: Sequence[str] | None, large: bool) -> list[Row]:
    """Rows by name or group, in the table's order; without a choice, all that are not large unless those are wanted.

    Raises
    ------
    ValueError
        Something is neither a name nor a group.
    """
    for name in only or ():
        if not any(name in (row.name, row.group) for row in ROWS):
            known = ", ".join(dict.fromkeys(row.group for row in ROWS))
            raise ValueError(f"got {name!r}, expected a group ({known}) or a row such as {ROWS[0].name}")
    wanted = [row for row in ROWS if large or not row.large or row.name in (only or ())]
    return [row for row in wanted if not only or row.name in only or row.group in only]
