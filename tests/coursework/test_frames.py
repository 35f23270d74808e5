"""The channel: what is packed comes back, and whatever else arrives is a FrameError, taken in bounded memory."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hypercon.coursework.inside.frames import BODY_LIMIT, DTYPES, HEADER_LIMIT, Frame, FrameError, pack, unpack

ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans()
FRAMES = st.builds(
    Frame,
    st.text(max_size=9),
    st.text(max_size=9),
    st.text(max_size=99),
    st.integers(0, 9),
    st.lists(ARRAYS | NUMBERS | st.lists(st.integers(0, 99)).map(tuple), max_size=4).map(tuple),
)


class Stream:
    """Bytes to read, and the most that was asked for at once. Where they end, zeros follow: the other end may go on."""

    def __init__(self, data):
        self.data, self.most = data, 0

    def __call__(self, count):
        self.most = max(self.most, count)
        taken, self.data = self.data[:count], self.data[count:]
        return taken + bytes(count - len(taken))


def framed(header, body=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"HCF1" + (len(header) if length is None else length).to_bytes(4, "little") + header + body


def header(**changes):
    return {"kind": "result", "nonce": "", "text": "", "count": 0, "values": []} | changes


@given(FRAMES)
def test_what_is_packed_comes_back(frame):
    stream = Stream(pack(frame))
    back = unpack(stream)
    assert stream.data == b""
    assert (back.kind, back.nonce, back.text, back.count) == (frame.kind, frame.nonce, frame.text, frame.count)
    for sent, got in zip(frame.values, back.values, strict=True):
        np.testing.assert_array_equal(sent, got)
        assert type(got) is type(sent)
        if isinstance(sent, np.ndarray):
            assert got.dtype == sent.dtype
            assert got.flags.writeable


@given(FRAMES, st.data())
def test_a_frame_with_changed_bytes_is_a_frame_or_an_error_and_takes_bounded_memory(frame, data):
    changed = bytearray(pack(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    stream = Stream(bytes(changed))
    with contextlib.suppress(FrameError):
        unpack(stream)
    assert stream.most <= max(BODY_LIMIT, HEADER_LIMIT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
SIDES = st.integers(-2, 5) | st.sampled_from([2**25, 2**25 + 1, 2**62, True, 1.5, "3", None])
VALUES = st.tuples(
    st.sampled_from(["array", "number", "numbers", "other"]), st.sampled_from([*DTYPES, "O", "<c16"]), st.lists(SIDES)
).map(list)


@given(st.fixed_dictionaries(dict.fromkeys(header(), JSON)) | JSON | st.lists(VALUES).map(lambda v: header(values=v)))
def test_any_header_is_a_frame_or_an_error_and_takes_bounded_memory(told):
    stream = Stream(framed(told))
    with contextlib.suppress(FrameError):
        unpack(stream)
    assert stream.most <= BODY_LIMIT


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HCF2" + bytes(4), "do not begin"),
        (framed(header(), length=HEADER_LIMIT + 1), "do not begin"),
        (framed(b"\xff\xfe"), "not JSON"),
        (framed(b"[" * HEADER_LIMIT), "not JSON"),
        (framed(b"9" * HEADER_LIMIT), "not JSON"),
        (framed([]), "other fields"),
        (framed(header(more=1)), "other fields"),
        (framed(header(count=True)), "count is not of type int"),
        (framed(header(count=-1)), "does not fit"),
        (framed(header(text="x" * 4001)), "does not fit"),
        (framed(header(values=[["array", "|O", []]])), "no frame has"),
        (framed(header(values=[["array", "<f8", [-1]]])), "no length"),
        (framed(header(values=[["array", "<f8", [2**25, 2**25]]])), "announces more"),
        (framed(header(values=[["array", "<f8", [0] + [2**25] * 7]])), "no array has"),
        (framed(header(values=[["array", "<f8", [1] * 9]])), "no frame has"),
        (framed(header(values=[["number", "<f8", [1]]])), "a number has a shape"),
    ],
)
def test_what_is_no_frame_says_why(data, why):
    with pytest.raises(FrameError, match=why):
        unpack(Stream(data))


def test_what_cannot_be_sent_is_refused_where_it_is_packed():
    with pytest.raises(FrameError, match="too large"):
        pack(Frame("result", values=(np.zeros(BODY_LIMIT // 8 + 1),)))
    with pytest.raises(FrameError, match="real numbers"):
        pack(Frame("result", values=(np.zeros(1, complex),)))
