"""Files: whole or not at all when written, and never unpickled when read."""

import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercon.errors import DataError, InputError, StorageError
from hypercon.files import atomic, checksum, checksum_by_name, read_arrays, read_json, write_arrays, write_json

# --- writing


def test_what_is_written_is_there_under_its_name_and_nothing_else(tmp_path):
    with atomic(tmp_path / "result") as stream:
        stream.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result").read_bytes() == b"new"


def test_the_old_file_stands_until_all_is_written(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with atomic(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def write_half(path, error):
    with atomic(path) as stream:
        stream.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half(path, error)
    assert [other.name for other in tmp_path.iterdir()] == ["result"]
    assert path.read_bytes() == b"old"


def test_a_folder_is_not_written_over_and_called_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", tmp_path):
        with pytest.raises(InputError, match=r"is a folder, expected the name of a file"), atomic(path):
            pytest.fail("it was opened")
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(ValueError, match="half way"):
        write_half(str(tmp_path / "result"), ValueError("half way"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_result_has_an_ordinary_files_permissions(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic(tmp_path / "result") as stream:
            stream.write(b"new")
        assert os.umask(umask) == umask  # asking for it left it alone
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == 0o666 & ~umask


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent cannot be written to \(No such file.*choose another folder"):
        write_half(tmp_path / "absent" / "result", AssertionError)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file cannot be written to"):
        write_half(tmp_path / "file" / "result", AssertionError)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything can be written to by root")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\)"):
        write_half(tmp_path / "result", AssertionError)


def test_json_is_readable_and_ends_its_line(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"tau": 0.2, "runs": [1, 2]})
    assert json.loads(path.read_text()) == {"tau": 0.2, "runs": [1, 2]}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("value", [{"loss": float("nan")}, [float("inf")]])
def test_json_knows_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "result.json", value)
    assert list(tmp_path.iterdir()) == []


# --- reading


def archive(path, **arrays):
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    return path


def test_arrays_come_back_by_name(tmp_path):
    x, y = np.arange(6.0).reshape(2, 3), np.array([1, 2], np.uint8)
    found = read_arrays(archive(tmp_path / "a.npz", x=x, y=y))
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], x, strict=True)
    np.testing.assert_array_equal(found["y"], y, strict=True)


class Bomb:
    """Unpickling it is heard."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def pickled_archive(path):
    archive(path, x=np.array([Bomb()], dtype=object))


def pickle_itself(path):
    path.write_bytes(pickle.dumps(Bomb()))


def single_array(path):
    with path.open("wb") as stream:
        np.save(stream, np.ones(3))


def other_archive(path):
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("readme.txt", "no array")


def truncated(path):
    archive(path, x=np.ones(100))
    path.write_bytes(path.read_bytes()[:-50])


def damaged(path):
    archive(path, x=np.ones(100))
    content = bytearray(path.read_bytes())
    content[300] ^= 1  # inside the numbers
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (pickled_archive, "it holds Python objects"),
        (pickle_itself, "it is of another kind"),
        (single_array, "it is one array without a name"),
        (other_archive, r"readme\.txt in it is no array"),
        (truncated, "File is not a zip file"),
        (damaged, "Bad CRC-32"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"text"), "it is of another kind"),
    ],
    ids=["pickled", "a pickle", "npy", "zip", "truncated", "damaged", "empty", "text"],
)
def test_what_is_no_archive_of_plain_arrays_is_refused_with_the_reason(tmp_path, make, reason):
    path = tmp_path / "a.npz"
    make(path)
    with pytest.raises(DataError, match=rf"a\.npz: not an \.npz file of plain arrays \({reason}.*np\.savez"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.npz: no such file"):
        read_arrays(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_arrays(tmp_path)


@given(st.data())
def test_no_damage_whatever_gets_another_error(tmp_path_factory, data):
    path = archive(tmp_path_factory.getbasetemp() / "damaged.npz", x=np.arange(4.0), y=np.ones(2, np.int8))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read_arrays(path)
    except DataError:
        return
    assert all(isinstance(x, np.ndarray) for x in found.values())


# --- a disk that refuses


def test_a_disk_that_refuses_is_a_storage_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    message = r"result cannot be written \(No space left on device\), and what stood there is unharmed: make room"
    with pytest.raises(StorageError, match=message) as caught:
        write_half(path, OSError(28, "No space left on device"))
    assert isinstance(caught.value, OSError)
    assert [other.name for other in tmp_path.iterdir()] == ["result"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="folders are opened on POSIX alone")
def test_the_file_and_its_name_are_on_the_disk_before_it_is_said_to_be_written(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace

    def synced(handle):
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def replaced(self, other):
        order.append("name")
        return replace(self, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    assert order == ["file", "name", "folder"]


# --- arrays of every form, and sums over them


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((0, 3)),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array("text"),
        np.array(["a", "long"]),
        np.array([True, False]),
        np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")]),
        np.array([1 + 2j], np.complex64),
        np.arange(3, dtype=">i2"),
        np.array(["2020-01-01"], "datetime64[D]"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_every_form_come_back_and_can_be_written_to(array, save, tmp_path):
    path = tmp_path / "a.npz"
    save(path, x=array)
    found = read_arrays(path)["x"]
    np.testing.assert_array_equal(found, array, strict=True)
    assert found.flags.writeable
    assert found.flags.f_contiguous == array.flags.f_contiguous


def test_a_checksum_is_of_values_dtype_shape_and_name():
    x = np.arange(6, dtype=np.float32)
    sums = {checksum(x), checksum(x.astype(float)), checksum(x.reshape(2, 3)), checksum(x + 1), checksum(x, x)}
    assert len(sums) == 5
    assert checksum(x, None) == checksum(x)
    assert checksum(np.asfortranarray(x.reshape(2, 3))) == checksum(x.reshape(2, 3))
    assert checksum_by_name({"a": x, "b": x + 1}) == checksum_by_name({"b": x + 1, "a": x})
    assert checksum_by_name({"a": x}) != checksum_by_name({"b": x})


def test_json_that_is_none_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.json: not JSON .*: it is damaged or of another kind"):
            read_json(path)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        read_json(path)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)
