"""``hypercon``: all that is run from a shell, a file for each kind of command.

Bad input ends with one line on standard error and status 2; an interrupt with status 130. Everything heavy is imported
after the arguments have been read, so that help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hypercon.cli.command import INTERRUPTED, USAGE, Parser
from hypercon.cli.coursework import add_check, add_course, add_grade, add_lessons
from hypercon.cli.experiments import add_dilemma, add_explain, add_reproduce
from hypercon.cli.training import add_data, add_plot, add_train
from hypercon.cli.upkeep import add_bench, add_config
from hypercon.errors import DataError, HyperconError
from hypercon.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if "command" not in arguments:
        parser.print_help()
        return 0
    try:
        return int(arguments.command(arguments))
    except HyperconError as error:
        print(f"hypercon {arguments.name}: {_as_typed(error, arguments)}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"\nhypercon {arguments.name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="hypercon",
        description="The contrastive loss, laid open: what it weighs, pulls and pushes, and what embeddings become.",
        epilog="Start with: hypercon dilemma --quick",
    )
    parser.add_argument("--version", action="version", version=f"hypercon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_dilemma(commands)
    add_explain(commands)
    add_reproduce(commands)
    add_lessons(commands)
    add_check(commands)
    add_course(commands)
    add_grade(commands)
    add_data(commands)
    add_train(commands)
    add_plot(commands)
    add_bench(commands)
    add_config(commands)
    return parser


def _as_typed(error: HyperconError, arguments: argparse.Namespace) -> str:
    """An error about ``batch_size`` is, to someone at a shell, one about ``--batch-size``; ``number`` may be ``NN``."""
    first, _, rest = str(error).partition(" ")
    if first in arguments.positionals:
        return f"{arguments.positionals[first]} {rest}"
    if first in vars(arguments):
        return f"--{first.replace('_', '-')} {rest}"
    return f"--data {error}" if isinstance(error, DataError) and "data" in vars(arguments) else str(error)
