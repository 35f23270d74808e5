"""Images in the forms in which others publish them: IDX, binary records of CIFAR and STL-10, SVHN's .mat, pictures.

Each reader gives the arrays that an ``.npz`` of one's own would hold: ``images`` and ``labels``, and ``test_images``
and ``test_labels`` where there are any; uint8, (N, H, W) or (N, H, W, C). Nothing is unpickled, and of an archive only
members of known names are read, in memory: what else it holds, and what paths it names, does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hypercon.errors import DataError

Arrays = dict[str, np.ndarray]

MOST = 2**33  # bytes of one member or file: more is no data set of these kinds
_PARTS = {"train": "", "test": "test_"}  # by split: how its arrays' names begin
_PICTURES = {".png", ".jpg", ".jpeg"}
_CIFAR10 = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_CIFAR100 = {"train": ["train.bin"], "test": ["test.bin"]}
_STL10 = {"train": ["train_X.bin", "train_y.bin"], "test": ["test_X.bin", "test_y.bin"]}


# --- which form a path has


def reader_of(path: Path) -> Callable[[Path], Arrays] | None:
    """The reader for a folder or an archive that someone names, or None where nothing known lies there."""
    if path.is_file():
        if _idx_kind(path.name):
            return lambda file: read_idx_folder(file.parent)
        return _archive_reader(path) if path.name.endswith((".tar.gz", ".tgz", ".tar")) else None
    names = {file.name for file in path.iterdir()}
    if any(_idx_kind(name) for name in names):
        return read_idx_folder
    for marker, reader in (
        ("data_batch_1.bin", read_cifar10),
        ("train_X.bin", read_stl10),
        ("train.bin", read_cifar100),
    ):
        if marker in names:
            return reader
    if "train_32x32.mat" in names:
        return read_svhn
    if any(_pictures_below(path)):
        return read_image_folder
    return None


def _archive_reader(path: Path) -> Callable[[Path], Arrays] | None:
    found = members(path, _records(), first=True)
    return _records()[next(iter(found))] if found else None


def _records() -> dict[str, Callable[[Path], Arrays]]:
    """By a file that only they have, the readers of records."""
    return {"data_batch_1.bin": read_cifar10, "train_X.bin": read_stl10, "train.bin": read_cifar100}


# --- IDX: MNIST and what took its form


def read_idx_folder(folder: Path, splits: Iterable[str] = ("train", "test")) -> Arrays:
    """``train-images-idx3-ubyte`` and its kin (``t10k`` for the test part), gzipped or not."""
    arrays: Arrays = {}
    for split in splits:
        start = "train" if split == "train" else "t10k"
        for kind, axes, name in (("images", 3, "images"), ("labels", 1, "labels")):
            path = _idx_file(folder, f"{start}-{kind}")
            if path is not None:
                arrays[_PARTS[split] + name] = read_idx(path, axes)
    if "images" not in arrays and "test_images" not in arrays:
        raise DataError(f"{folder}: no train-images-idx3-ubyte, gzipped or not, expected beside the other IDX files")
    return arrays


def read_idx(path: Path, axes: int) -> np.ndarray:
    """An array of unsigned bytes in IDX form: two zeros, type 8, number of axes, big-endian lengths, values."""
    data = _read(path)
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes([0, 0, 8, axes]):
        raise DataError(f"{path}: not an IDX file of unsigned bytes with {axes} axes")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    size = int(np.prod(shape, dtype=object))
    if len(data) - header != size:
        raise DataError(f"{path}: {len(data) - header} bytes for shape {shape}, expected {size}: cut short or damaged")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _idx_kind(name: str) -> bool:
    return name.removesuffix(".gz").endswith(("idx3-ubyte", "idx1-ubyte"))


def _idx_file(folder: Path, start: str) -> Path | None:
    for ending in ("-idx3-ubyte", ".idx3-ubyte", "-idx1-ubyte", ".idx1-ubyte"):
        for packed in ("", ".gz"):
            path = folder / f"{start}{ending}{packed}"
            if path.is_file():
                return path
    return None


# --- CIFAR and STL-10: records of bytes, in a folder or in the published archive


def read_cifar10(path: Path, splits: Iterable[str] = ("train", "test")) -> Arrays:
    """The binary version of CIFAR-10: a byte of label and 3 x 32 x 32 bytes of pixels for each image."""
    return _cifar(path, {split: _CIFAR10[split] for split in splits}, labels=1)


def read_cifar100(path: Path, splits: Iterable[str] = ("train", "test")) -> Arrays:
    """The binary version of CIFAR-100: bytes of a coarse and of the fine label, which is taken, and of pixels."""
    return _cifar(path, {split: _CIFAR100[split] for split in splits}, labels=2)


def _cifar(path: Path, files: dict[str, list[str]], labels: int) -> Arrays:
    content = _contents(path, [name for names in files.values() for name in names])
    arrays = {}
    for split, names in files.items():
        data, record = b"".join(content[name] for name in names), labels + 3 * 32 * 32
        if not data or len(data) % record:
            raise DataError(
                f"{path}: {len(data)} bytes of {split} images, expected records of {record}: cut short or damaged"
            )
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        arrays[f"{_PARTS[split]}images"] = rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"{_PARTS[split]}labels"] = rows[:, labels - 1].copy()
    return arrays


def read_stl10(path: Path, splits: Iterable[str] = ("train", "test")) -> Arrays:
    """The binary version of STL-10, its labelled images: 3 x 96 x 96 bytes, column by column, and labels from 1."""
    files = {split: _STL10[split] for split in splits}
    content = _contents(path, [name for names in files.values() for name in names])
    arrays = {}
    for split, (pixels, labels) in files.items():
        if not content[labels] or len(content[pixels]) != len(content[labels]) * 3 * 96 * 96:
            raise DataError(
                f"{path}: {len(content[pixels])} bytes in {pixels} and {len(content[labels])} labels, expected "
                f"{3 * 96 * 96} bytes for each: cut short or damaged"
            )
        images = np.frombuffer(content[pixels], np.uint8).reshape(-1, 3, 96, 96)
        arrays[f"{_PARTS[split]}images"] = images.transpose(0, 3, 2, 1)
        arrays[f"{_PARTS[split]}labels"] = np.frombuffer(content[labels], np.uint8) - np.uint8(1)
    return arrays


def _contents(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The files of these names in a folder or an archive."""
    found = members(path, names) if path.is_file() else {}
    if path.is_dir():
        found = {name: _read(path / name) for name in names if (path / name).is_file()}
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: no {missing[0]} in it; expected {', '.join(names)}")
    return found


def members(path: Path, names: Iterable[str], *, first: bool = False) -> dict[str, bytes]:
    """Regular members of a tar archive by the last part of their names, whatever folders they claim to lie in.

    They are read in the order of the archive, and reading ends with the last that is wanted, or with the ``first``.
    """
    import tarfile
    import zlib

    wanted, found = set(names), {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name not in wanted or name in found or not member.isreg():
                    continue
                if member.size > MOST:
                    raise DataError(f"{path}: {name} claims {member.size} bytes, more than any data set of this kind")
                stream = archive.extractfile(member)
                found[name] = b"" if first or stream is None else stream.read()
                if not first and len(found[name]) != member.size:
                    raise DataError(f"{path}: {name} is cut short")
                if first or len(found) == len(wanted):
                    break
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a tar archive, or damaged ({error})") from None
    return found


# --- SVHN


def read_svhn(folder: Path, splits: Iterable[str] = ("train", "test")) -> Arrays:
    """SVHN's cropped digits, ``train_32x32.mat`` and ``test_32x32.mat``; the label 10 stands for 0. Needs SciPy."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(f"{folder}: reading .mat files needs SciPy: pip install scipy") from None
    arrays = {}
    for split in splits:
        path = folder / f"{split}_32x32.mat"
        if not path.is_file():
            continue
        try:
            held = loadmat(path, variable_names=["X", "y"])
            pixels, labels = held["X"], held["y"].reshape(-1)
        except Exception as error:  # whatever SciPy makes of a damaged file
            raise DataError(f"{path}: not a .mat file with X and y ({error})") from None
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2:] != (3, len(labels)) or not len(labels):
            raise DataError(f"{path}: X is {pixels.dtype} {pixels.shape}, expected uint8 (32, 32, 3, {len(labels)})")
        arrays[f"{_PARTS[split]}images"] = pixels.transpose(3, 0, 1, 2)
        arrays[f"{_PARTS[split]}labels"] = (labels % 10).astype(np.uint8)
    if "images" not in arrays and "test_images" not in arrays:
        raise DataError(f"{folder}: neither train_32x32.mat nor test_32x32.mat in it")
    return arrays


# --- folders of pictures


def read_image_folder(folder: Path) -> Arrays:
    """PNG and JPEG files, whose folders are their classes: ``CLASS/*.png``, or ``train/CLASS/*`` and ``test/CLASS/*``.

    Pictures that lie in no folder of their own have no labels. All must have one size. Needs Pillow.
    """
    parts = {"": folder / "train", "test_": folder / "test"} if (folder / "train").is_dir() else {"": folder}
    arrays: Arrays = {}
    for start, root in parts.items():
        files = sorted(_pictures_below(root))
        if not files:
            if start == "test_":
                continue
            raise DataError(f"{root}: no PNG or JPEG files in it")
        arrays[f"{start}images"] = _pixels(files)
        labels = [file.parent.name for file in files if file.parent != root]
        if labels and len(labels) < len(files):
            raise DataError(f"{root}: some pictures lie in folders of classes and some do not: sort all, or none")
        if labels:
            arrays[f"{start}labels"] = np.array(labels)
    return arrays


def _pictures_below(root: Path) -> Iterable[Path]:
    places = [root, *(place for place in root.iterdir() if place.is_dir())] if root.is_dir() else []
    if (root / "train").is_dir():
        places += [place for place in (root / "train").iterdir() if place.is_dir()]
    return (file for place in places for file in place.iterdir() if file.suffix.lower() in _PICTURES)


def _pixels(files: Sequence[Path]) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError(f"{files[0]}: reading pictures needs Pillow: pip install pillow") from None
    pictures: list[np.ndarray] = []
    modes: dict[str, Any] = {"1": "L", "L": "L", "I;16": "L", "LA": "L"}
    for file in files:
        try:
            with Image.open(file) as picture:
                if picture.width * picture.height > 2**24:
                    raise DataError(
                        f"{file}: {picture.size[0]}x{picture.size[1]} pixels, expected small pictures: shrink them"
                    )
                pictures.append(np.asarray(picture.convert(modes.get(picture.mode, "RGB"))))
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{file}: not a picture, or damaged ({error})") from None
        if pictures[-1].shape[:2] != pictures[0].shape[:2]:
            (h, w), (h0, w0) = pictures[-1].shape[:2], pictures[0].shape[:2]
            raise DataError(f"{file}: {w}x{h} pixels, but {files[0].name} has {w0}x{h0}: bring all to one size first")
    if len({picture.ndim for picture in pictures}) > 1:
        pictures = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    return np.stack(pictures)


def _read(path: Path) -> bytes:
    """A file's bytes, unpacked where its name ends in .gz."""
    import gzip
    import zlib

    try:
        if path.suffix != ".gz":
            if path.stat().st_size > MOST:
                raise DataError(f"{path}: {path.stat().st_size} bytes, more than any data set of this kind")
            return path.read_bytes()
        with gzip.open(path) as stream:
            data = stream.read(MOST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a gzip file, cut short or damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > MOST:
        raise DataError(f"{path}: unpacks to more than {MOST} bytes, which is no data set of this kind")
    return data
