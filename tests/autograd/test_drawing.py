"""The picture of a graph: complete, well formed, and safe to show."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DtypeError, InputError

SVG = "{http://www.w3.org/2000/svg}"


def an_example():
    x = hc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = hc.tensor(np.full((3, 3), 0.1), requires_grad=True)
    y = hc.tanh(w @ x + x) * np.array([1.0, 0.0, 2.0])
    return x, w, y.sum()


def texts(drawing):
    return [text.text for text in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")]


def test_every_value_has_a_box_with_its_name_and_shape():
    x, w, y = an_example()
    shown = texts(hc.draw(y, names={"x": x, "w": w, "loss": y}))
    for text in [
        "x",
        "w",
        "matmul",
        "add",
        "tanh",
        "multiply",
        "loss = sum",
        "constant",
        "(3, 3) float64",
        "scalar float64",
    ]:
        assert text in shown
    assert shown.count("x") == 1  # used twice, drawn once


def test_every_input_has_an_edge():
    _, _, y = an_example()
    drawing = hc.draw(y)
    edges = [
        "w-matmul",
        "x-matmul",
        "matmul-add",
        "x-add",
        "add-tanh",
        "tanh-multiply",
        "constant-multiply",
        "multiply-sum",
    ]
    assert drawing.dot.count("->") == len(edges)
    assert len(ElementTree.fromstring(drawing.svg).findall(f"{SVG}path")) == len(edges)


def test_edges_run_downward_and_boxes_do_not_overlap():
    _, _, y = an_example()
    root = ElementTree.fromstring(hc.draw(y).svg)
    for path in root.findall(f"{SVG}path"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
        assert numbers[1] < numbers[-1]
    boxes = [
        tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in root.findall(f"{SVG}rect") if r.get("x")
    ]
    for i, (x, y1, width, height) in enumerate(boxes):
        assert x >= 0
        assert x + width <= float(root.get("width"))
        assert y1 + height <= float(root.get("height"))
        assert not any(abs(x - a) < width and abs(y1 - b) < height for a, b, *_ in boxes[:i])


def test_gradients_are_shown_once_there_are_any():
    x, _, y = an_example()
    drawing = hc.draw(y)
    assert not any(text.startswith("grad") for text in texts(drawing))
    y.backward()
    shown = [text for text in texts(drawing) if text.startswith("grad")]
    assert len(shown) == 2
    assert "grad " + ", ".join(f"{g:.3g}" for g in x.grad.data) in shown


def test_names_are_escaped():
    x = hc.tensor(1.0, requires_grad=True)
    drawing = hc.draw(x * 2, names={'<script>"&\\': x})
    assert "<script>" not in drawing.svg
    assert '<script>"&\\' in texts(drawing)
    assert r"<script>\"&\\" in drawing.dot


def test_notebooks_show_the_picture():
    _, _, y = an_example()
    drawing = hc.draw(y)
    assert drawing._repr_svg_() == drawing.svg
    assert "operations" in repr(drawing)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DtypeError, match="expected a tensor"):
        hc.draw(np.ones(3))
    y = x = hc.tensor(1.0, requires_grad=True)
    for _ in range(400):
        y = y + x
    with pytest.raises(InputError, match="more than 300"):
        hc.draw(y)
