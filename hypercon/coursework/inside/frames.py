"""The frames that judge and worker exchange: a header of bounded length, then the raw bytes of arrays. Nothing else.

A frame is

    4 bytes   HCF1
    4 bytes   length of the header, little-endian, at most 64 KiB
    header    JSON: {"kind": str, "nonce": str, "text": str, "count": int, "values": [[form, dtype, shape], ...]}
    body      the values' bytes one after the other, little-endian, in C order

Every length is checked before memory is taken for it. A value is an array, a number (form "number": one entry) or
several whole numbers (form "numbers", such as a shape). Anything that is not exactly this is a `FrameError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGIC = b"HCF1"
PREFIX = 8
HEADER_LIMIT = 1 << 16
BODY_LIMIT = 1 << 25
TEXT_LIMIT = 4000
RANK_LIMIT = 8
DTYPES = ("<f8", "<f4", "<i8", "|b1", "|u1")
FORMS = ("array", "number", "numbers")


class FrameError(Exception):
    """Bytes that are no frame."""


@dataclass(frozen=True)
class Frame:
    """One message. ``count`` of the ``values`` are a call's results; the others are its inputs after it."""

    kind: str
    nonce: str = ""
    text: str = ""
    count: int = 0
    values: tuple[Any, ...] = ()


def pack(frame: Frame) -> bytes:
    """The bytes of a frame."""
    specs, bodies = [], []
    for value in frame.values:
        if isinstance(value, bool | int | float):
            form, array = "number", np.array(value)
        elif isinstance(value, tuple | list):
            form, array = "numbers", np.array(value, dtype=np.int64).reshape(-1)
        else:
            form, array = "array", np.array(value, order="C", subok=False)
        little = array.dtype.newbyteorder("<").str
        if little not in DTYPES:
            raise FrameError(f"values of dtype {array.dtype} cannot be sent: expected real numbers")
        specs.append([form, little, list(array.shape)])
        bodies.append(array.astype(little, copy=False).tobytes())
    text = frame.text[:TEXT_LIMIT]
    told = {"kind": frame.kind, "nonce": frame.nonce, "text": text, "count": frame.count, "values": specs}
    header = json.dumps(told).encode()
    if len(header) > HEADER_LIMIT or sum(map(len, bodies)) > BODY_LIMIT:
        raise FrameError(f"the values are too large to be sent: more than {BODY_LIMIT} bytes")
    return MAGIC + len(header).to_bytes(4, "little") + header + b"".join(bodies)


def unpack(read: Callable[[int], bytes]) -> Frame:
    """The next frame, from a function that returns exactly as many bytes as it is asked for."""
    prefix = read(PREFIX)
    length = int.from_bytes(prefix[4:], "little")
    if prefix[:4] != MAGIC or length > HEADER_LIMIT:
        raise FrameError("the bytes do not begin as a frame does")
    header = _header(read(length))
    layouts = [_layout(spec) for spec in header["values"]]
    sizes = [np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape in layouts]
    if sum(sizes) > BODY_LIMIT:
        raise FrameError(f"the frame announces more than {BODY_LIMIT} bytes")
    values = tuple(_value(layout, read(size)) for layout, size in zip(layouts, sizes, strict=True))
    return Frame(header["kind"], header["nonce"], header["text"], header["count"], values)


def _header(encoded: bytes) -> dict[str, Any]:
    try:
        header = json.loads(encoded)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise FrameError("the frame's header is not JSON") from None
    expected = {"kind": str, "nonce": str, "text": str, "count": int, "values": list}
    if not isinstance(header, dict) or set(header) != set(expected):
        raise FrameError("the frame's header has other fields than a frame has")
    for name, kind in expected.items():
        if type(header[name]) is not kind:
            raise FrameError(f"the frame's {name} is not of type {kind.__name__}")
    if header["count"] < 0 or len(header["text"]) > TEXT_LIMIT:
        raise FrameError("the frame's header does not fit itself")
    return header


def _layout(spec: Any) -> tuple[str, str, Sequence[int]]:
    if not (isinstance(spec, list) and len(spec) == 3):
        raise FrameError("a value is not described by form, dtype and shape")
    form, dtype, shape = spec
    if form not in FORMS or dtype not in DTYPES or not isinstance(shape, list) or len(shape) > RANK_LIMIT:
        raise FrameError("a value has a form, dtype or shape that no frame has")
    if not all(type(side) is int and 0 <= side <= BODY_LIMIT for side in shape):
        raise FrameError("a value has a side that is no length")
    if len(shape) != {"number": 0, "numbers": 1}.get(form, len(shape)):
        raise FrameError("a number has a shape")
    return form, dtype, shape


def _value(layout: tuple[str, str, Sequence[int]], body: bytes) -> Any:
    form, dtype, shape = layout
    try:
        array = np.frombuffer(body, dtype).reshape(shape)
    except ValueError:  # no entries, but sides whose product no array can have
        raise FrameError("a value has sides that no array has") from None
    if form == "array":
        return array.copy()
    return array.item() if form == "number" else tuple(int(side) for side in array)
