"""Every argument of layers, optimisers, data and training, replaced in turn by everything that it should not be.

Each call is answered in hypercon's own words, or does what was asked without a warning.
"""

import inspect
import warnings

import numpy as np
import pytest
from test_bad_calls import VALUES

import hypercon as hc
from hypercon.errors import HyperconError
from hypercon.nn import Encoder, Sequential

MORE = {
    "an encoder": lambda rng: hc.nn.mlp((1, 4, 4), widths=(4,), dim=2, rng=rng),
    "a class": lambda rng: hc.nn.ReLU,
    "a layer": lambda rng: hc.nn.ReLU(),
    "an optimiser": lambda rng: hc.optim.SGD([hc.tensor([1.0], requires_grad=True)], 0.1),
    "a data set": lambda rng: hc.data.load("digits"),
    "bytes": lambda rng: b"bytes",
    "true": lambda rng: True,
    "half": lambda rng: 1.5,
    "nan": lambda rng: float("nan"),
    "infinity": lambda rng: float("inf"),
    "a list of strings": lambda rng: ["a", "b"],
    "images of bytes": lambda rng: np.zeros((8, 1, 4, 4), np.uint8),
    "images channels last": lambda rng: rng.random((8, 8, 8, 3)),
    "images with nan": lambda rng: np.full((8, 1, 4, 4), np.nan),
    "images of another size": lambda rng: rng.random((8, 2, 5, 5)),
    "no images": lambda rng: np.zeros((0, 1, 4, 4)),
    "an old generator": lambda rng: np.random.RandomState(0),
    "range": lambda rng: range(3),
    "an iterator": lambda rng: iter([1, 2]),
}
JUNK = VALUES | MORE


class Fresh:
    """What good calls are made of, anew for each."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.images = self.rng.random((8, 1, 4, 4), dtype=np.float32)
        self.x = hc.tensor(self.rng.normal(size=(6, 3)))
        self.maps = hc.tensor(self.rng.normal(size=(6, 3, 4, 4)))
        self.encoder = hc.nn.mlp((1, 4, 4), widths=(4,), dim=2, rng=self.rng)
        self.parameters = self.encoder.parameters()
        self.optimizer = hc.optim.SGD(self.parameters, 0.01)
        self.mlp = {"shape": (1, 4, 4), "widths": (4,), "dim": 2, "rng": self.rng}
        self.dataset = {
            "name": "own",
            "images": self.images,
            "labels": np.arange(8) % 2,
            "classes": None,
            "flip": False,
        }
        self.fit = {
            "encoder": self.encoder,
            "images": self.images,
            "loss": "info_nce",
            "temperature": 0.2,
            "optimizer": self.optimizer,
            "epochs": 1,
            "batch_size": 4,
            "augment": hc.data.mild(),
            "rng": self.rng,
            "on_epoch": None,
            "checkpoint": None,
            "resume": False,
            "checkpoint_every": 60.0,
        }


nn, optim, data = hc.nn, hc.optim, hc.data
# each a function and the arguments of a call that makes sense
CALLS = {
    "Linear": lambda f: (nn.Linear, {"inputs": 3, "outputs": 2, "rng": f.rng, "bias": True}),
    "Linear(x)": lambda f: (nn.Linear(3, 2, rng=f.rng).__call__, {"x": f.x}),
    "Conv2d": lambda f: (nn.Conv2d, {"channels": 3, "kernels": 2, "size": 3, "rng": f.rng, "stride": 1}),
    "Conv2d(x)": lambda f: (nn.Conv2d(3, 2, rng=f.rng).__call__, {"x": f.maps}),
    "BatchNorm": lambda f: (nn.BatchNorm, {"channels": 3, "affine": True, "momentum": 0.1, "eps": 1e-5}),
    "BatchNorm(x)": lambda f: (nn.BatchNorm(3).__call__, {"x": f.x}),
    "BatchNorm evaluating (x)": lambda f: (nn.BatchNorm(3).eval().__call__, {"x": f.x}),
    "ReLU(x)": lambda f: (nn.ReLU().__call__, {"x": f.x}),
    "Flatten(x)": lambda f: (nn.Flatten().__call__, {"x": f.maps}),
    "GlobalAveragePool(x)": lambda f: (nn.GlobalAveragePool().__call__, {"x": f.maps}),
    "MaxPool2d": lambda f: (nn.MaxPool2d, {"size": 2}),
    "MaxPool2d(x)": lambda f: (nn.MaxPool2d(2).__call__, {"x": f.maps}),
    "Normalize(x)": lambda f: (nn.Normalize().__call__, {"x": f.x}),
    "Sequential": lambda f: (lambda layer: Sequential(nn.Flatten(), layer), {"layer": nn.ReLU()}),
    "Encoder": lambda f: (Encoder, {"backbone": nn.Flatten(), "head": nn.Normalize(), "recipe": {}}),
    "Encoder(x)": lambda f: (f.encoder.__call__, {"x": hc.tensor(f.images)}),
    "embed": lambda f: (f.encoder.embed, {"images": f.images, "batch_size": 5}),
    "train": lambda f: (f.encoder.train, {"on": True}),
    "to": lambda f: (f.encoder.to, {"device": "cpu"}),
    "load_state": lambda f: (f.encoder.load_state, {"state": f.encoder.state()}),
    "load_state, one value": lambda f: (
        lambda value: f.encoder.load_state(f.encoder.state() | {"head.layers.0.weight": value}),
        {"value": f.encoder.state()["head.layers.0.weight"]},
    ),
    "mlp": lambda f: (nn.mlp, f.mlp),
    "cnn": lambda f: (nn.cnn, f.mlp | {"strides": (1,)}),
    "projection_head": lambda f: (nn.projection_head, {"features": 3, "dim": 2, "rng": f.rng}),
    "build": lambda f: (nn.build, {"recipe": f.encoder.recipe, "rng": f.rng}),
    "build, one entry": lambda f: (
        lambda widths, dim, name: nn.build({"shape": [1, 4, 4], "name": name, "widths": widths, "dim": dim}, rng=f.rng),
        {"widths": [4], "dim": 2, "name": "mlp"},
    ),
    "save_encoder": lambda f: (nn.save_encoder, {"path": "encoder.npz", "encoder": f.encoder, "notes": {}}),
    "save_encoder, recipe": lambda f: (
        lambda recipe: nn.save_encoder("encoder.npz", Encoder(f.encoder.backbone, f.encoder.head, recipe)),
        {"recipe": f.encoder.recipe},
    ),
    "load_encoder": lambda f: (nn.load_encoder, {"path": "missing.npz"}),
    "LARS": lambda f: (
        optim.LARS,
        {"parameters": f.parameters, "rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, "trust": 1e-3},
    ),
    "warmup": lambda f: (optim.warmup, {"rate": 0.1, "steps": 5}),
    "save_weights": lambda f: (nn.save_weights, {"path": "weights.npz", "module": f.encoder}),
    "load_weights": lambda f: (nn.load_weights, {"path": "missing.npz", "module": f.encoder}),
    "SGD": lambda f: (optim.SGD, {"parameters": f.parameters, "rate": 0.1, "momentum": 0.9}),
    "Adam": lambda f: (
        optim.Adam,
        {"parameters": f.parameters, "rate": 0.1, "betas": (0.9, 0.9), "eps": 1e-8, "weight_decay": 0.0},
    ),
    "one parameter": lambda f: (lambda parameter: optim.SGD([parameter], 0.1), {"parameter": f.parameters[0]}),
    "cosine": lambda f: (optim.cosine, {"rate": 0.1, "steps": 10, "warmup": 2}),
    "a schedule's rate": lambda f: (
        lambda rate: optim.SGD(f.parameters, lambda step: rate).step(),
        {"rate": 0.1},
    ),
    "load": lambda f: (data.load, {"name": "digits", "split": "test", "seed": 0}),
    "load_both": lambda f: (data.load_both, {"data": "digits", "seed": 0}),
    "Dataset": lambda f: (data.Dataset, f.dataset),
    "batches": lambda f: (data.batches, {"count": 9, "batch_size": 4, "rng": f.rng}),
    "mild": lambda f: (data.mild, {"flip": False, "window": 0.9}),
    "Augmentation": lambda f: (data.Augmentation, dict(vars(data.mild()))),
    "view": lambda f: (data.mild().__call__, {"images": f.images, "rng": f.rng}),
    "two_views": lambda f: (data.mild().two_views, {"images": f.images, "rng": f.rng}),
    "fit": lambda f: (hc.fit, f.fit),
    "final_loss": lambda f: (hc.History([2.0, 1.0], 4, 1.0).final_loss, {"steps": 1}),
}
# said to be anything that prints; and a function of the caller's raises what it likes
FREE = {("Dataset", "name"), ("Dataset", "classes"), ("fit", "on_epoch")}


@pytest.mark.parametrize("name", CALLS)
def test_the_call_that_makes_sense_is_accepted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, arguments = CALLS[name](Fresh())
    if name in ("load_encoder", "load_weights"):
        nn.save_encoder("missing.npz", Fresh().encoder)
    function(**arguments)


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_is_refused_in_hypercons_own_words_or_makes_sense(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argument in CALLS[name](Fresh())[1]:
        if (name, argument) in FREE:
            continue
        for kind, make in JUNK.items():
            function, arguments = CALLS[name](Fresh())
            shown = f"{name} with {argument} = {kind}"
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    function(**(arguments | {argument: make(np.random.default_rng(1))}))
                except HyperconError:
                    continue
                except Exception as error:
                    pytest.fail(f"{shown} raised {type(error).__name__}: {error}")
            if kind != "infinity":  # of an infinity NumPy warns itself
                assert not warned, f"{shown} warned: {warned[0].message}"


def test_every_public_name_of_these_rooms_is_in_the_table():
    called = {name.partition("(")[0].partition(",")[0] for name in CALLS}
    for room in (nn, data):
        for public in set(room.__all__) - {"Module", "NAMES", "MomentumEncoder"}:
            assert public in called, public
    functions = {name for name, value in vars(optim).items() if inspect.isfunction(value) and name[0] != "_"}
    ours = {name for name in functions if vars(optim)[name].__module__ == "hypercon.optim"}
    assert ours <= called
