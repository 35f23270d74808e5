"""The data sets that can be had by name: whose they are, where they are published, and by what they are recognised.

Sizes and checksums are of the files as their authors publish them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hypercon.data import formats
from hypercon.data.formats import Arrays


class File(NamedTuple):
    """One published file.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    checksum : str
        Hexadecimal, with the name of the algorithm before it where that is not SHA-256: ``md5:...``.
    """

    name: str
    size: int
    checksum: str


class Published(NamedTuple):
    """A data set that others publish.

    Attributes
    ----------
    about : str
        How many images of what, in a line.
    terms : str
        What its authors say of its use.
    places : tuple of str
        Addresses below which the files lie, the authors' first.
    files : tuple of File
    read : callable
        Takes the folder with the files and the splits wanted, and gives their arrays.
    classes : tuple of str
    flip : bool
    """

    about: str
    terms: str
    places: tuple[str, ...]
    files: tuple[File, ...]
    read: Callable[[Path, tuple[str, ...]], Arrays]
    classes: tuple[str, ...]
    flip: bool


def _in_archive(reader: Callable[..., Arrays], name: str, folder: Path, splits: tuple[str, ...]) -> Arrays:
    return reader(folder / name, splits)


_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
FASHION = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

PUBLISHED = {
    "mnist": Published(
        about="70,000 handwritten digits, 28x28 grey",
        terms="LeCun, Cortes & Burges; CC BY-SA 3.0",
        places=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "http://yann.lecun.com/exdb/mnist",
        ),
        files=(
            File(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        read=formats.read_idx_folder,
        classes=_DIGITS,
        flip=False,
    ),
    "fashion-mnist": Published(
        about="70,000 pieces of clothing, 28x28 grey",
        terms="Zalando SE; MIT licence",
        places=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
        files=(
            File(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        read=formats.read_idx_folder,
        classes=FASHION,
        flip=True,
    ),
    "cifar10": Published(
        about="60,000 photographs of 10 classes, 32x32 colour",
        terms="Krizhevsky 2009; no licence stated",
        places=("https://www.cs.toronto.edu/~kriz",),
        files=(
            File(
                "cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        read=partial(_in_archive, formats.read_cifar10, "cifar-10-binary.tar.gz"),
        classes=_CIFAR10,
        flip=True,
    ),
    "cifar100": Published(
        about="60,000 photographs of 100 classes, 32x32 colour",
        terms="Krizhevsky 2009; no licence stated",
        places=("https://www.cs.toronto.edu/~kriz",),
        files=(
            File(
                "cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        read=partial(_in_archive, formats.read_cifar100, "cifar-100-binary.tar.gz"),
        classes=tuple(_CIFAR100.split()),
        flip=True,
    ),
    "svhn": Published(
        about="99,289 house numbers, 32x32 colour (needs SciPy)",
        terms="Netzer et al. 2011; for non-commercial use only",
        places=("http://ufldl.stanford.edu/housenumbers",),
        files=(
            File(
                "train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            File(
                "test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
        read=formats.read_svhn,
        classes=_DIGITS,
        flip=False,
    ),
    "stl10": Published(
        about="13,000 labelled photographs, 96x96 colour",
        terms="Coates, Lee & Ng 2011; no licence stated",
        places=("http://ai.stanford.edu/~acoates/stl10",),
        files=(File("stl10_binary.tar.gz", 2_640_397_119, "md5:91f7769df0f17e558f3565bffb0c7dfb"),),
        read=partial(_in_archive, formats.read_stl10, "stl10_binary.tar.gz"),
        classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        flip=True,
    ),
}


def listing(folder: Path, here: dict[str, bool]) -> str:
    """All data sets, two lines each, and which of them lie in the folder already."""
    width = max(map(len, PUBLISHED))
    lines = []
    for name, known in PUBLISHED.items():
        size = sum(file.size for file in known.files) / 2**20
        state = "here" if here[name] else "not here"
        lines += [f"{name:<{width}}  {known.about}", f"{'':<{width}}  {known.terms}; {size:,.0f} MiB, {state}"]
    return "\n".join([*lines, "", f"in {folder}, or downloaded there when they are first asked for"])
