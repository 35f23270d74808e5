"""The graph behind a tensor as a picture: SVG for the eye, DOT for other tools. No program is needed for either.

Boxes are values, with their shapes; leaves that need a gradient stand out, and show it after ``backward()``. Edges run
from what a value was made of, downward.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypercon.autograd.engine import Traced
from hypercon.backend import to_host
from hypercon.errors import DtypeError, InputError

MOST_BOXES = 300  # more than this nobody reads
_WIDTH, _HEIGHT, _GAP, _RISE = 180, 54, 24, 44  # of a box, between boxes of a row, and between rows
_FILL = {"leaf": "#fff3d6", "constant": "#f2f2f2", "made": "#e4f0fb"}


@dataclass
class _Box:
    """A value as it is drawn. Its gradient is read when the picture is made, not before."""

    title: str
    kind: str
    value: Any
    inputs: list[int] = field(default_factory=list)
    row: int = 0
    column: float = 0.0

    def lines(self) -> list[str]:
        lines = [self.title, f"{_shape(self.value)} {getattr(self.value, 'dtype', '')}".strip()]
        if isinstance(self.value, Traced) and self.value.grad is not None:
            lines.append(f"grad {_numbers(self.value.grad.data)}")
        return lines


class Drawing:
    """The graph of a tensor, as `draw` found it.

    A notebook shows it as a picture. The gradients of leaves are read each time it is shown, so that a drawing made
    before ``backward()``, which frees the graph, shows them afterwards.

    Attributes
    ----------
    svg : str
        The picture, complete in itself.
    dot : str
        The same graph in Graphviz's language.
    """

    def __init__(self, boxes: list[_Box]) -> None:
        self._boxes = boxes

    def __repr__(self) -> str:
        made = sum(box.kind == "made" for box in self._boxes)
        return f"Drawing of {made} operations on {len(self._boxes) - made} leaves: its .svg is the picture"

    def _repr_svg_(self) -> str:
        return self.svg

    @property
    def dot(self) -> str:
        rows = ["digraph {", '  node [shape=box, style="rounded,filled", fontname="sans-serif"];']
        for i, box in enumerate(self._boxes):
            label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines())
            rows.append(f'  n{i} [label="{label}", fillcolor="{_FILL[box.kind]}"];')
        rows += [f"  n{j} -> n{i};" for i, box in enumerate(self._boxes) for j in box.inputs]
        return "\n".join([*rows, "}"])

    @property
    def svg(self) -> str:
        width = (max(box.column for box in self._boxes) + 1) * (_WIDTH + _GAP) + 2 * _GAP
        height = (max(box.row for box in self._boxes) + 1) * (_HEIGHT + _RISE) + _GAP
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="12" role="img">',
            "<title>computation graph</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        ]
        for box in self._boxes:
            for place, j in enumerate(box.inputs):
                parts.append(_edge(self._boxes[j], box, (place + 1) / (len(box.inputs) + 1)))
        parts += [_rectangle(box) for box in self._boxes]
        return "\n".join([*parts, "</svg>"])


def draw(tensor: Traced, names: Mapping[str, Any] | None = None) -> Drawing:
    """Draw the graph behind a tensor.

    Parameters
    ----------
    tensor : Tensor
    names : mapping of str to Tensor, optional
        What to call tensors in the picture; leaves without a name are numbered.

    Returns
    -------
    Drawing
        Shown as a picture by notebooks; ``.svg`` and ``.dot`` are texts.

    Raises
    ------
    DtypeError
        It is no tensor.
    InputError
        The graph has more than 300 values: draw a part of it, or a smaller example.

    Examples
    --------
    >>> import hypercon as hc
    >>> x = hc.tensor([1.0, 2.0], requires_grad=True)
    >>> drawing = hc.draw((x * x).sum(), names={"x": x})
    >>> drawing
    Drawing of 2 operations on 1 leaves: its .svg is the picture
    >>> print(drawing.dot.splitlines()[2])
      n0 [label="x\\n(2,) float64", fillcolor="#fff3d6"];
    """
    if not isinstance(tensor, Traced):
        raise DtypeError(f"draw() got {type(tensor).__name__}, expected a tensor")
    if names is not None and not isinstance(names, Mapping):
        raise DtypeError(f"draw() got {type(names).__name__} for names, expected a dictionary from names to tensors")
    called = {id(value): name for name, value in (names or {}).items()}
    values = _oldest_first(tensor)
    boxes: list[_Box] = []
    number: dict[int, int] = {}
    leaves = 0
    for value in values:
        if isinstance(value, Traced) and value.primitive is not None:
            title, kind = value.primitive.name, "made"
            if id(value) in called:
                title = f"{called[id(value)]} = {title}"
        elif isinstance(value, Traced) and value.requires_grad:
            leaves += 1
            title, kind = called.get(id(value), f"leaf {leaves}"), "leaf"
        else:
            title, kind = called.get(id(value), "constant"), "constant"
        inputs = [number[id(x)] for x in value.inputs if id(x) in number] if kind == "made" else []
        number[id(value)] = len(boxes)
        boxes.append(_Box(title, kind, value, inputs))
    _lay_out(boxes)
    return Drawing(boxes)


def _oldest_first(tensor: Traced) -> list[Any]:
    """Every array the tensor was made from, each after its inputs, the tensor itself last."""
    order: list[Any] = []
    seen: set[int] = set()
    stack: list[tuple[Any, bool]] = [(tensor, False)]
    while stack:
        value, ready = stack.pop()
        if ready:
            order.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            if len(seen) > MOST_BOXES:
                raise InputError(
                    f"draw() got a graph of more than {MOST_BOXES} values, which nobody can read: draw less"
                )
            stack.append((value, True))
            for x in reversed(value.inputs if isinstance(value, Traced) else ()):
                if hasattr(x, "shape"):  # plain numbers belong to the operation, not to the graph
                    stack.append((x, False))
    return order


def _lay_out(boxes: list[_Box]) -> None:
    """Rows by distance from the result, upward; within a row, boxes near what they go into."""
    users: list[list[int]] = [[] for _ in boxes]
    for i, box in enumerate(boxes):
        for j in box.inputs:
            users[j].append(i)
    height = [0] * len(boxes)
    for i in reversed(range(len(boxes))):
        height[i] = max((height[user] + 1 for user in users[i]), default=0)
    top = max(height)
    rows: list[list[int]] = [[] for _ in range(top + 1)]
    for i, box in enumerate(boxes):
        box.row = top - height[i]
        rows[box.row].append(i)
    widest = max(len(row) for row in rows)
    for row in reversed(rows):  # from the result upward
        wish = {i: np.mean([boxes[u].column for u in users[i]]) if users[i] else (widest - 1) / 2 for i in row}
        row.sort(key=lambda i: (wish[i], i))
        start = float(np.mean(list(wish.values()))) - (len(row) - 1) / 2
        start = min(max(start, 0.0), widest - len(row))
        for place, i in enumerate(row):
            boxes[i].column = start + place


def _corner(box: _Box) -> tuple[float, float]:
    return _GAP + box.column * (_WIDTH + _GAP), _GAP + box.row * (_HEIGHT + _RISE)


def _edge(source: _Box, target: _Box, where: float) -> str:
    (x1, y1), (x2, y2) = _corner(source), _corner(target)
    x1, y1, x2 = x1 + _WIDTH / 2, y1 + _HEIGHT, x2 + _WIDTH * where
    bend = (y2 - y1) / 2
    aside = 0.9 * _WIDTH if target.row - source.row > 1 else 0  # past the boxes of the rows between
    return (
        f'<path d="M{x1:.1f} {y1:.1f} C{x1 + aside:.1f} {y1 + bend:.1f} {x2 + aside:.1f} {y2 - bend:.1f} '
        f'{x2:.1f} {y2:.1f}" fill="none" stroke="#555" marker-end="url(#tip)"/>'
    )


def _rectangle(box: _Box) -> str:
    x, y = _corner(box)
    lines = box.lines()
    first = y + _HEIGHT / 2 - 7.5 * (len(lines) - 1) + 4
    texts = [
        f'<text x="{x + _WIDTH / 2:.1f}" y="{first + 15 * i:.1f}" text-anchor="middle" '
        f'font-weight="{"normal" if i else "bold"}">{html.escape(_cut(line))}</text>'
        for i, line in enumerate(lines)
    ]
    frame = f'<rect x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="7" '
    return frame + f'fill="{_FILL[box.kind]}" stroke="#555"/>' + "".join(texts)


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if value.shape else "scalar"


def _numbers(array: Any) -> str:
    host = to_host(array)
    if host.size > 3:
        return f"{_shape(host)}, norm {np.linalg.norm(host):.3g}"
    return ", ".join(f"{number:.3g}" for number in host.ravel())


def _cut(line: str, most: int = 28) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"
