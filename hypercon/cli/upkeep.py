"""``hypercon bench`` and ``config``: how fast it is, and what it computes with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hypercon.cli.command import command, say, whole
from hypercon.errors import InputError

# --- hypercon bench

_BENCH = """\
Time hypercon beside other libraries on the same work.

Results are compared first; what is wrong is not timed. Then every library, in a process of its own, takes turns, and
medians, ratios, peak memory and who else used the machine are told. Peers that are not installed are left out. The
benchmarks come with the source: run this in a checkout of it.
"""

_BENCH_EXAMPLES = """\
examples:
  hypercon bench                                    every row but the largest, about ten minutes
  hypercon bench --only symmetric cnn-28            a group of rows, and a row
  hypercon bench --peers torch --python ~/torch/bin/python
                                                    one peer, which lives in another environment
  hypercon bench --large --repeat 3 --json bench.json
  hypercon bench --growth --json bench.json         how cost grows with batch and width, hypercon alone
  hypercon bench --page bench.json                  both as a page, bench.md
"""


def add_bench(commands: Any) -> None:
    parser = command(
        commands,
        "bench",
        _bench,
        "time hypercon beside PyTorch, JAX and others, in a checkout of the source",
        _BENCH,
        _BENCH_EXAMPLES,
    )
    parser.add_argument(
        "--peers",
        metavar="NAME,NAME",
        default="torch,torch-compile,jax,autograd,mygrad,tinygrad",
        help="whom to compare with, or none (default: %(default)s)",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows or groups of rows (default: all)")
    parser.add_argument("--large", action="store_true", help="the largest sizes too: minutes, and gigabytes in PyTorch")
    parser.add_argument("--rounds", type=whole, default=9, metavar="N", help="turns of each library (default: 9)")
    parser.add_argument(
        "--repeat", type=whole, default=1, metavar="N", help="run it all N times; the worst counts (default: 1)"
    )
    parser.add_argument("--python", metavar="PATH", help="the interpreter that has the peers (default: this one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--growth", action="store_true", help="measure instead how cost grows")
    other.add_argument("--page", type=Path, metavar="FILE.json", help="write instead the page of an earlier run")


def _bench(arguments: argparse.Namespace) -> int:
    command = _benchmarks()
    if arguments.page:
        return int(command.write_page(arguments.page, say))
    if arguments.growth:
        return int(command.follow_growth(large=arguments.large, json_path=arguments.json, say=say))
    peers = [] if arguments.peers == "none" else arguments.peers.split(",")
    return int(
        command.compare(
            peers=peers,
            only=arguments.only,
            large=arguments.large,
            rounds=arguments.rounds,
            repeat=arguments.repeat,
            python=arguments.python,
            json_path=arguments.json,
            say=say,
        )
    )


def _benchmarks() -> Any:
    """The module that runs them: of the checkout that this package lies in, or else of the current folder."""
    import importlib

    for root in (Path(__file__).parents[2], Path.cwd()):
        if (root / "tests" / "benchmarks" / "command.py").is_file():
            sys.path.insert(0, str(root / "tests"))
            try:
                return importlib.import_module("benchmarks.command")
            finally:
                sys.path.pop(0)
    raise InputError("the benchmarks come with the source, and are not here: run this in a checkout of hypercon")


# --- hypercon config


def add_config(commands: Any) -> None:
    description = "Print versions, the BLAS library and its threads, cores, and GPUs or why there are none."
    command(
        commands,
        "config",
        _config,
        "versions, BLAS and threads, devices: what to add to a report of a problem",
        description,
    )


def _config(arguments: argparse.Namespace) -> int:
    from hypercon.configuration import show_config

    show_config()
    return 0
