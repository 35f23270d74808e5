"""What the commands share: a parser whose mistakes take one line, words for numbers, and where notes are said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

USAGE, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes take one line, and name the command and the words of its help.

    Attributes
    ----------
    positionals : dict
        By its name in the code, what the help calls each positional.
    stray : str
        What to say of a word that stands alone where none does.
    """

    stray = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.positionals: dict[str, str] = {}
        super().__init__(*arguments, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        if not action.option_strings:
            self.positionals[action.dest] = str(action.metavar or action.dest)
        return action

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is not known here: argparse would hand it up, and the command's name would be lost."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            hint = f": {self.stray}" if self.stray and not unknown[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str | None = None,
) -> Parser:
    """A command's own parser: what ``hypercon --help`` says of it, what its own help says, and what it calls."""
    parser: Parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run, name=name, positionals=parser.positionals)
    return parser


def say(line: str) -> None:
    print(line, file=sys.stderr)


def say_beside_bar(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def number_or_word(text: str) -> float | str:
    return text if text[:1].isalpha() and text not in ("nan", "inf") else number(text)


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number such as 0.2") from None


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number") from None
