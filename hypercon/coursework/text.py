"""Text that a student wrote, made safe to show: in a terminal, a table or a page it is seen and does nothing."""

from __future__ import annotations


def readable(text: str) -> str:
    """``text`` with every character that does not print, but for line breaks and tabs, as its escape.

    Colours and cursor movements of a terminal, marks that turn the direction of writing, zero bytes and halves of
    surrogate pairs are what this is for.

    Examples
    --------
    >>> readable("\\x1b[2Jfull marks")
    '\\\\x1b[2Jfull marks'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def one_line(text: str, limit: int = 300) -> str:
    """`readable` on one line, and no longer than ``limit``."""
    words = " ".join(readable(text).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
