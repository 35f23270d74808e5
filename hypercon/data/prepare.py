"""How the files that ship were made, kept so that anyone can make them again, byte for byte.

    python -m hypercon.data.prepare fashion-mini FOLDER    FOLDER holds Fashion-MNIST's four IDX files, gzipped or not
    python -m hypercon.data.prepare digits                 needs scikit-learn, whose copy of the UCI digits it takes

Each writes its ``.npz`` into ``files`` beside this script and prints the checksum that `datasets` verifies.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from hypercon.data.formats import read_idx_folder

FILES = Path(__file__).parent / "files"
SEED = 0


def fashion_mini(folder: Path) -> None:
    """600 training and 100 test images of each of the 10 classes, drawn by a fixed seed."""
    rng = np.random.default_rng(SEED)
    images, labels = _balanced(folder, "train", 600, rng)
    test_images, test_labels = _balanced(folder, "t10k", 100, rng)
    _write("fashion-mini", images=images, labels=labels, test_images=test_images, test_labels=test_labels)


def digits() -> None:
    """All 1,797 digits: 50 test images of each class, drawn by a fixed seed; the rest for training. Pixels 0 to 16."""
    from sklearn.datasets import load_digits

    everything = load_digits()
    images, labels = everything.images.astype(np.uint8), everything.target.astype(np.uint8)
    rng = np.random.default_rng(SEED)
    test = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:50] for c in range(10)])
    test, train = rng.permutation(test), rng.permutation(np.setdiff1d(np.arange(len(labels)), test))
    _write("digits", images=images[train], labels=labels[train], test_images=images[test], test_labels=labels[test])


def _balanced(folder: Path, part: str, per_class: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """So many random images of each class from one part, in random order, and their labels."""
    arrays = read_idx_folder(folder)
    images, labels = (arrays[("" if part == "train" else "test_") + kind] for kind in ("images", "labels"))
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)])
    chosen = rng.permutation(chosen)
    return images[chosen], labels[chosen]


def _write(name: str, **arrays: np.ndarray) -> None:
    path = FILES / f"{name}.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["fashion-mini"] and len(sys.argv) == 3:
        fashion_mini(Path(sys.argv[2]))
    elif sys.argv[1:] == ["digits"]:
        digits()
    else:
        sys.exit(__doc__)
