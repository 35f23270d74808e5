"""Damaged and hostile files: what chance and malice make of a good one, and what reading it may cost.

Malice knows the format: it rewrites a header, declares a shape that is not there, packs a bomb, and computes the
checksum anew.
"""

import io
import json
import random
import tracemalloc
import zipfile

import numpy as np

MOST_MEMORY = 64 * 2**20  # bytes that the reading of a small file may take


def mutations(whole, count, seed=0):
    """So many damaged versions of a file's bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.choice(_DAMAGE)(bytearray(whole), chance)


def _flip_a_bit(content, chance):
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _change_bytes(content, chance):
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def _cut_short(content, chance):
    return bytes(content[: chance.randrange(len(content))])


def _cut_out(content, chance):
    start, stop = sorted(chance.randrange(len(content)) for _ in range(2))
    return bytes(content[:start] + content[stop:])


def _say_twice(content, chance):
    start, stop = sorted(chance.randrange(len(content)) for _ in range(2))
    return bytes(content[:stop] + content[start:])


def _blank(content, chance):
    start = chance.randrange(len(content))
    stop = min(len(content), start + chance.randint(1, 64))
    content[start:stop] = bytes([chance.choice((0, 255))]) * (stop - start)
    return bytes(content)


def _change_a_number(content, chance):
    """A digit of text, such as of a shape or of a length in JSON."""
    digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if digits:
        content[chance.choice(digits)] = 48 + chance.randrange(10)
    return bytes(content)


def _change_an_archives_entry(content, chance):
    """A byte of what the archive says of its members: lengths, sums, offsets, names."""
    starts = [i for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for i in _places(content, mark)]
    if starts:
        content[min(len(content) - 1, chance.choice(starts) + chance.randrange(46))] = chance.randrange(256)
    return bytes(content)


def _places(content, mark):
    at = content.find(mark)
    while at >= 0:
        yield at
        at = content.find(mark, at + 1)


_DAMAGE = [
    _flip_a_bit,
    _flip_a_bit,
    _change_bytes,
    _cut_short,
    _cut_out,
    _say_twice,
    _blank,
    _change_a_number,
    _change_an_archives_entry,
]


def memory_of(read):
    """What reading gave or raised, and the most memory that Python and NumPy had meanwhile."""
    tracemalloc.start()
    try:
        try:
            return read(), tracemalloc.get_traced_memory()[1]
        except Exception as error:
            return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- malice


def member(header, data=b"", version=b"\x01\x00"):
    """An array's file with a header of one's own."""
    text = header.encode("latin1") if isinstance(header, str) else header
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def claim(dtype, shape):
    return f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"


def archive(members, *, deflated=True):
    """An ``.npz`` of members by name, each its bytes."""
    stream = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", kind, compresslevel=1) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return stream.getvalue()


def rewritten(whole, change):
    """An ``.npz`` with its arrays changed, its sums right again."""
    with np.load(io.BytesIO(whole), allow_pickle=False) as found:
        arrays = dict(found)
    change(arrays)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def with_header(**changes):
    """A change of the JSON in ``header``."""

    def change(arrays):
        arrays["header"] = np.array(json.dumps(json.loads(str(arrays["header"])) | changes))

    return change


HUGE = 10**15
BOMBS = {
    "a shape of a petabyte": {"images.npy": member(claim("|u1", (HUGE,)), b"x" * 100)},
    "a shape of no bytes and a petabyte": {"images.npy": member(claim("<U0", (HUGE,)))},
    "a shape beyond all numbers": {"images.npy": member(claim("|u1", (2**63, 2**63)))},
    "a negative shape": {"images.npy": member(claim("|u1", (-1, -100)), b"x" * 100)},
    "an item of a petabyte": {"images.npy": member(claim("|V1000000000000000", (1,)))},
    "a shape that is no shape": {"images.npy": member(claim("|u1", ("x",)))},
    "a nested header": {"images.npy": member("(" * 9000 + ")" * 9000)},
    "a header that ends nowhere": {"images.npy": member("{'descr': '''")},
    "a header of a megabyte": {"images.npy": b"\x93NUMPY\x02\x00" + (2**20).to_bytes(4, "little") + b" " * 2**20},
    "a dtype of dtypes": {"images.npy": member(claim([("a", "<f4", (HUGE,))], (1,)))},
    "an object": {"images.npy": member(claim("|O", (1,)), b"cos\nsystem\n(S'true'\ntR.")},
    "an unknown version": {"images.npy": member(claim("|u1", (1,)), b"x", version=b"\x07\x00")},
    "many zeros": {"images.npy": member(claim("|u1", (2**26,)), bytes(2**26))},
    "many members of zeros": {f"a{i}.npy": member(claim("|u1", (2**20,)), bytes(2**20)) for i in range(70)},
}
