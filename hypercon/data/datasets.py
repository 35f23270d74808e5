"""Data sets as arrays: two that ship with the package, those that others publish, and anyone's own files.

Images are float32 in [0, 1] and shaped (N, C, H, W) everywhere in hypercon; whatever a file holds is brought into
that form here, or refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypercon.data import formats
from hypercon.data.catalogue import FASHION, PUBLISHED
from hypercon.data.fetching import fetch
from hypercon.errors import DataError, DtypeError, InputError
from hypercon.files import read_arrays
from hypercon.validation import check_flag, check_images, check_labels, check_whole


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images, and what is known about them.

    Attributes
    ----------
    name : str
    images : ndarray of float32, (N, C, H, W)
        In [0, 1].
    labels : ndarray of int64, (N,), or None
        Classes, numbered from 0.
    classes : tuple of str, or None
        Their names.
    flip : bool
        Whether an image mirrored left to right keeps its class.

    Raises
    ------
    InputError, DtypeError
        The images are no floats (N, C, H, W), or the labels are not one whole number for each.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...] | None
    flip: bool

    def __post_init__(self) -> None:
        check_images(self.images)
        check_flag(self.flip, "flip")
        if self.labels is not None:
            check_labels(self.labels, len(self.images))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        if self.labels is None:
            classes = "no labels"
        elif self.classes is None:
            classes = f"{len(np.unique(self.labels))} classes"
        else:
            names = [*self.classes[:3], "...", self.classes[-1]] if len(self.classes) > 5 else self.classes
            classes = f"{len(self.classes)} classes ({', '.join(names)})"
        size = " x ".join(map(str, self.images.shape[1:]))
        return f"Dataset {self.name!r}: {len(self)} images of {size} (C x H x W), {self.images.dtype}; {classes}"


@dataclass(frozen=True)
class Shipped:
    """What the table below says of a data set that ships."""

    sha256: str
    brightest: int  # the pixel value that stands for 1
    classes: tuple[str, ...]
    flip: bool


_SHIPPED = {
    "digits": Shipped(
        sha256="07dcd2edcee33130e4575d9333a3c06281e3681f6e5604eb35bc200b9dc7dc9f",
        brightest=16,
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        flip=False,
    ),
    "fashion-mini": Shipped(
        sha256="a9ea6bf5582db56cb68931624c20948187823828bf4bbfd3db173391bcdb8ad3",
        brightest=255,
        classes=FASHION,
        flip=True,
    ),
}
NAMES = tuple(_SHIPPED)
_OWN = "an .npz file, a folder of IDX, CIFAR or image files, or CIFAR's .tar.gz"
_KNOWN = f"{', '.join([*_SHIPPED, *PUBLISHED])}, or the path of {_OWN}"
_FILES = Path(__file__).parent / "files"


def load(name: str | Path, split: str = "train", *, seed: int = 0) -> Dataset:
    """Load one part of a data set; `load_both` gives both.

    Parameters
    ----------
    name : str or path-like
        ``digits``: 1,797 handwritten digits of 8x8 pixels (UCI, CC BY 4.0). ``fashion-mini``: 7,000 images of
        Fashion-MNIST, 28x28 (MIT). Both ship, and are balanced over 10 classes. ``mnist``, ``fashion-mnist``,
        ``cifar10``, ``cifar100``, ``svhn`` and ``stl10`` are downloaded when they are first asked for. Or the path of
        files of one's own, as `load_both` describes them.
    split : {"train", "test"}, default "train"
    seed : int, default 0
        Decides which tenth is the test part of a file that has none.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError, DtypeError
        There is no such part.
    DataError
        There is no such data set, or its file is missing, damaged or cannot be used.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.images.shape, digits.images.dtype, len(load("digits", "test"))
    ((1297, 1, 8, 8), dtype('float32'), 500)
    """
    if not isinstance(split, str) or split not in ("train", "test"):
        raise InputError(f'split got {split!r}, expected "train" or "test"')
    if str(name) in PUBLISHED:
        return _load_published(str(name), split)
    return load_both(name, seed=seed)[split == "test"]


def load_both(data: str | Path, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Load the training and the test part of a data set, by name or from files of one's own.

    Parameters
    ----------
    data : str or path-like
        A name, as `load` takes it. Or the path of an ``.npz`` file with the arrays ``images``, uint8 or floats in
        [0, 1], (N, H, W) or (N, H, W, C); optionally ``labels``, (N,), whole numbers or names; optionally
        ``test_images`` and ``test_labels``. Or of a folder: of IDX files (``train-images-idx3-ubyte.gz`` ...), of the
        binary version of CIFAR-10, CIFAR-100 or STL-10, also as their ``.tar.gz``, of SVHN's ``.mat``, or of PNG and
        JPEG files in a folder for each class.
    seed : int, default 0
        Decides which tenth is held out where a file has no test part.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    DataError
        There is no such data set, or the file cannot be read or used; the message names the array and the remedy.
    DtypeError
        ``data`` is neither a name nor a path.

    Examples
    --------
    >>> train, test = load_both("fashion-mini")
    >>> len(train), len(test), train.classes[0]
    (6000, 1000, 'T-shirt')
    """
    if not isinstance(data, str | Path):
        raise DtypeError(f"data got {type(data).__name__}, expected {_KNOWN}")
    seed = check_whole(seed, "seed", least=0)
    if str(data) in _SHIPPED:
        return _load_shipped(str(data))
    if str(data) in PUBLISHED:
        return _load_published(str(data), "train"), _load_published(str(data), "test")
    path = Path(data)
    if path.suffix != ".npz" and not path.exists():
        raise DataError(f"data got {str(data)!r}, expected {_KNOWN}")
    reader = formats.reader_of(path) if path.exists() else None
    if reader is None and path.is_dir():
        raise DataError(f"{path}: nothing in this folder is known, expected {_OWN}")
    return _from_arrays(path, reader(path) if reader else read_arrays(path), seed)


# --- what ships


def _load_shipped(name: str) -> tuple[Dataset, Dataset]:
    import hashlib  # when a data set is asked for: it takes a while to load

    known, path = _SHIPPED[name], _FILES / f"{name}.npz"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != known.sha256:
        raise DataError(f"{name}: the installed file is missing or damaged: reinstall hypercon")
    arrays = read_arrays(path)

    def part(prefix: str) -> Dataset:
        images = np.divide(arrays[f"{prefix}images"][:, None], known.brightest, dtype=np.float32)
        return Dataset(name, images, arrays[f"{prefix}labels"].astype(np.int64), known.classes, known.flip)

    return part(""), part("test_")


# --- what others publish


def _load_published(name: str, split: str) -> Dataset:
    known = PUBLISHED[name]
    arrays = known.read(fetch(name), (split,))
    prefix = "" if split == "train" else "test_"
    images = _as_images(Path(name), f"{prefix}images", arrays[f"{prefix}images"])
    return Dataset(name, images, arrays[f"{prefix}labels"].astype(np.int64), known.classes, known.flip)


# --- one's own files


def _from_arrays(path: Path, arrays: dict[str, np.ndarray], seed: int) -> tuple[Dataset, Dataset]:
    if "images" not in arrays:
        known = ", ".join(arrays) or "none"
        raise DataError(f"{path}: no array named images (it has {known}); save it under that name")
    if "test_labels" in arrays and "test_images" not in arrays:
        raise DataError(f"{path}: test_labels without test_images; add the images or leave the labels out")
    images = _as_images(path, "images", arrays["images"])
    labels = _checked_labels(path, "labels", arrays.get("labels"), len(images))
    if "test_images" in arrays:
        test_images = _as_images(path, "test_images", arrays["test_images"])
        test_labels = _checked_labels(path, "test_labels", arrays.get("test_labels"), len(test_images))
        if test_images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"{path}: test_images are {_size(test_images)} but images are {_size(images)}; use one size for both"
            )
        if (labels is None) != (test_labels is None):
            raise DataError(f"{path}: labels for one part only; give both labels and test_labels, or neither")
    else:
        if len(images) < 2:
            raise DataError(f"{path}: one image and no test_images; expected at least two images, to hold one out")
        order = np.random.default_rng(seed).permutation(len(images))
        held_out = max(1, len(images) // 10)
        test, train = order[:held_out], np.sort(order[held_out:])
        images, test_images = images[train], images[test]
        labels, test_labels = (labels[train], labels[test]) if labels is not None else (None, None)
    classes = None
    if labels is not None and test_labels is not None:
        if (labels.dtype.kind == "U") != (test_labels.dtype.kind == "U"):
            raise DataError(f"{path}: names for one part and whole numbers for the other; label both alike")
        names, numbers = np.unique(np.concatenate([labels, test_labels]), return_inverse=True)
        if len(np.unique(labels)) < 2:
            raise DataError(f"{path}: labels name one class, expected at least two; leave labels out to go without")
        classes = tuple(str(name) for name in names)
        labels, test_labels = np.split(numbers.astype(np.int64), [len(labels)])
    # nothing is known of what a mirror does to these classes, so they are not mirrored
    return (
        Dataset(path.name, images, labels, classes, flip=False),
        Dataset(path.name, test_images, test_labels, classes, flip=False),
    )


def _as_images(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Any accepted form of images as float32 (N, C, H, W) in [0, 1]."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(f"{path}: {name} has shape {array.shape}, expected (N, H, W) or (N, H, W, C)")
    if array.shape[1] in (1, 3) and array.shape[3] > 4:
        raise DataError(f"{path}: {name} has shape {array.shape}, channels first; expected (N, H, W, C)")
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    elif array.dtype.kind == "f":
        bad = ~np.isfinite(array).all(axis=(1, 2, 3))
        if bad.any():
            raise DataError(f"{path}: {name} {int(bad.argmax())} has pixels that are nan or infinite; mend or drop it")
        if array.min() < 0 or array.max() > 1:
            raise DataError(
                f"{path}: {name} range from {array.min():g} to {array.max():g}, expected floats from 0 to 1; "
                f"rescale them, or save them as uint8"
            )
    else:
        raise DataError(f"{path}: {name} has dtype {array.dtype}, expected uint8 or floats from 0 to 1")
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2), dtype=np.float32)


def _checked_labels(path: Path, name: str, labels: np.ndarray | None, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.shape != (count,):
        raise DataError(f"{path}: {name} has shape {labels.shape}, expected ({count},), one for each image")
    if labels.dtype.kind not in "iuU":
        raise DataError(f"{path}: {name} has dtype {labels.dtype}, expected whole numbers or names")
    return labels


def _size(images: np.ndarray) -> str:
    _, channels, height, width = images.shape
    return f"{height}x{width}x{channels}"
