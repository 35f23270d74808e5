"""A figure with a description, as a notebook shows it: to who sees it, and to who hears it read."""

from __future__ import annotations

import base64
import html
import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercon.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class DescribedPicture:
    """A figure and its alternative text. Made by `described`."""

    figure: Figure
    text: str

    def __repr__(self) -> str:
        return f"[picture: {self.text}]"

    def _repr_html_(self) -> str:
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png", dpi=110, bbox_inches="tight", facecolor="white")
        data = base64.b64encode(stream.getvalue()).decode()
        return f'<img style="max-width:100%" alt="{html.escape(self.text)}" src="data:image/png;base64,{data}">'


def described(figure: Figure, text: str) -> DescribedPicture:
    """A figure with alternative text, for the end of a notebook's cell.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    text : str
        What is to be seen, in a sentence or two.

    Raises
    ------
    InputError
        The text is empty.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> described(Figure(), "an empty page")
    [picture: an empty page]
    """
    if not text.strip():
        raise InputError("text got nothing, expected what is to be seen, in a sentence or two")
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)  # else the notebook shows it once more, without the text
    return DescribedPicture(figure, text)
