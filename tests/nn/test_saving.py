"""Saved encoders: the same bits come back, damaged files are refused, and nothing is ever unpickled."""

import json
import os
import pickle
import sys

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DataError, InputError
from hypercon.nn import load_encoder, load_weights, mlp, save_encoder, save_weights

SMALL = {
    "mlp": lambda rng: hc.nn.mlp((1, 4, 4), widths=(5, 3), dim=2, rng=rng),
    "cnn": lambda rng: hc.nn.cnn((1, 4, 4), widths=(3, 2), strides=(1, 2), dim=2, rng=rng),
}


@pytest.fixture(params=SMALL.values(), ids=SMALL)
def encoder(request):
    """One that has seen a batch, so that its running statistics are its own."""
    rng = np.random.default_rng(0)
    encoder = request.param(rng)
    encoder(hc.tensor(rng.random((6, 1, 4, 4), dtype=np.float32)))
    return encoder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "encoder.npz"


@pytest.fixture
def exchanged(tmp_path):
    pytest.importorskip("safetensors")
    return tmp_path / "encoder.safetensors"


def rewrite(path, change):
    """The file again, with its arrays changed."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


def with_header(**changes):
    def change(arrays):
        header = json.loads(str(arrays["header"])) | changes
        arrays["header"] = np.array(json.dumps(header))

    return change


# --- there and back


def test_the_same_bits_come_back(encoder, path):
    save_encoder(path, encoder)
    loaded, notes = load_encoder(path)
    assert notes == {}
    assert loaded.recipe == encoder.recipe
    assert not loaded.training
    mine, theirs = encoder.state(), loaded.state()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert theirs[name].dtype == value.dtype
        assert theirs[name].tobytes() == value.tobytes()
    images = np.random.default_rng(1).random((7, 1, 4, 4), dtype=np.float32)
    for before, after in zip(encoder.embed(images), loaded.embed(images), strict=True):
        assert before.tobytes() == after.tobytes()


def test_notes_come_back(encoder, path):
    notes = {"temperature": 0.2, "seeds": [1, 2], "text": "τ", "none": None}
    save_encoder(path, encoder, notes)
    assert load_encoder(path)[1] == notes


def test_a_loaded_encoder_can_be_trained_on(encoder, path):
    save_encoder(path, encoder)
    loaded, _ = load_encoder(path)
    loaded.train()
    z = loaded(hc.tensor(np.random.default_rng(1).random((6, 1, 4, 4), dtype=np.float32)))
    hc.info_nce(z[:3], z[3:], temperature=0.5).backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_the_file_holds_plain_arrays_alone(encoder, path):
    save_encoder(path, encoder)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"header", *encoder.state()}
        assert json.loads(str(archive["header"]))["recipe"] == encoder.recipe


# --- writing whole or not at all


def test_a_failed_save_leaves_the_old_file(encoder, path, monkeypatch):
    def full_disk(stream, **arrays):
        stream.write(b"half of it")
        raise OSError("no space left")

    save_encoder(path, encoder, {"which": "old"})
    with pytest.raises(TypeError, match="JSON"):
        save_encoder(path, encoder, {"which": object()})
    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_encoder(path, encoder)
    assert load_encoder(path)[1] == {"which": "old"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_is_not_there_is_named(encoder, tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be written to"):
        save_encoder(tmp_path / "nowhere" / "encoder.npz", encoder)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "recipe got name None, expected one of mlp, cnn"),
        ({"name": "vit", "shape": [1, 4, 4]}, "recipe got name 'vit'"),
        ({"name": "mlp", "shape": [1, 4, 4], "widths": [9], "dim": 2}, "load_state: 'backbone.layers"),
    ],
)
def test_an_encoder_that_could_not_be_loaded_again_is_not_saved(path, recipe, message):
    made = mlp((1, 4, 4), widths=(5,), dim=2, rng=np.random.default_rng(0))
    own = hc.nn.Encoder(made.backbone, made.head, recipe)
    with pytest.raises(InputError, match=rf"could not be loaded again.*{message}.*numpy.savez.*load_state"):
        save_encoder(path, own)
    assert not path.exists()
    np.savez(path, **own.state())  # what the message says to do
    twin = mlp((1, 4, 4), widths=(5,), dim=2, rng=np.random.default_rng(1))
    with np.load(path) as weights:
        twin.load_state(dict(weights))
    for name, value in own.state().items():
        np.testing.assert_array_equal(twin.state()[name], value)


# --- what is refused


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("member", ["header", "head.layers.0.weight"])
def test_nothing_is_unpickled(encoder, path, tmp_path, member):
    save_encoder(path, encoder)
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    rewrite(path, lambda arrays: arrays.update({member: trap}))
    with pytest.raises(DataError, match="it holds Python objects"):
        load_encoder(path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match=r"not an \.npz file of plain arrays"):
        load_encoder(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(path):
    with pytest.raises(DataError, match=r"encoder.npz: no such file"):
        load_encoder(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("header"), "not an encoder saved by hypercon"),
        (lambda arrays: arrays.update(header=np.array("not json")), "not an encoder saved by hypercon"),
        (lambda arrays: arrays.update(header=np.array("[1, 2]")), "not an encoder saved by hypercon"),
        (lambda arrays: arrays.update(header=np.zeros(3)), "not an encoder saved by hypercon"),
        (with_header(schema=99), "schema 99, expected 1: written by another version"),
        (with_header(recipe={"name": "vit"}), "not an encoder saved by hypercon"),
        (with_header(recipe="mlp"), "not an encoder saved by hypercon"),
        (with_header(recipe={"name": "mlp"}), "not an encoder saved by hypercon"),
        (with_header(recipe={"name": "cnn", "shape": []}), "not an encoder saved by hypercon"),
        (with_header(recipe={"name": "mlp", "shape": [float("inf")]}), "not an encoder saved by hypercon"),
        (with_header(recipe={"name": "mlp", "shape": [1, 4, 4], "depth": 9}), "not an encoder saved by hypercon"),
        (with_header(recipe={"name": "mlp", "shape": [1, 4, 4], "dim": 7}), "not an encoder saved by hypercon"),
        (lambda arrays: arrays.pop("head.layers.0.weight"), "'head.layers.0.weight' and 0 other names"),
        (lambda arrays: arrays.update(more=np.zeros(3)), "'more' and 0 other names"),
        (
            lambda arrays: arrays.update({"head.layers.1.scale": np.zeros(9, np.float32)}),
            r"'head.layers.1.scale' has float32 \(9,\)",
        ),
        (
            lambda arrays: arrays.update({"head.layers.1.scale": arrays["head.layers.1.scale"].astype(float)}),
            "'head.layers.1.scale' has float64",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(encoder, path, change, message):
    save_encoder(path, encoder)
    rewrite(path, change)
    with pytest.raises(DataError, match=message):
        load_encoder(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"weights = [1, 2, 3]\n", bytes(1000)])
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not an \.npz file of plain arrays"):
        load_encoder(path)


def test_one_array_alone_is_refused(path):
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match="it is one array without a name"):
        load_encoder(path)


@pytest.fixture
def whole(path):
    """The bytes of a small encoder's file."""
    save_encoder(path, mlp((1, 2, 2), widths=(3,), dim=2, rng=np.random.default_rng(0)))
    return path.read_bytes()


def test_a_file_cut_short_is_refused(path, whole):
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_encoder(path)


def test_a_changed_byte_is_refused_or_does_not_matter(path, whole):
    state = load_encoder(path)[0].state()
    for position in [*range(0, len(whole), 13), 3483]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            loaded = load_encoder(path)[0].state()
        except DataError:
            continue
        assert all((loaded[name] == value).all() for name, value in state.items())


def test_an_encrypted_member_is_refused(path, whole):
    damaged = bytearray(whole)
    damaged[whole.index(b"PK\x01\x02") + 8] |= 1  # the flag in the first entry of the directory
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="encrypted"):
        load_encoder(path)


def test_a_recipe_for_more_weights_than_the_file_holds_is_refused_before_any_are_made(path, encoder):
    save_encoder(path, encoder)
    for sizes in ({"widths": [10**9]}, {"dim": 10**12}, {"widths": [3] * 10**5}, {"shape": [10**6, 10**6, 10**6]}):
        rewrite(path, with_header(recipe=encoder.recipe | sizes))
        with pytest.raises(DataError, match=r"its recipe is of [\d,]+ weights or more, and it holds|strides"):
            load_encoder(path)
        save_encoder(path, encoder)


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_the_weights_of_a_recipe_are_counted_as_they_are_made(make):
    made = make(np.random.default_rng(0))
    weights = [p for path, p in made.named_parameters() if path.endswith("weight")]
    assert hc.nn.encoders.count_weights(made.recipe) == sum(p.data.size for p in weights)
    short = {"name": made.recipe["name"], "shape": [1, 4, 4]}
    built = hc.nn.build(short, rng=np.random.default_rng(0))
    weights = [p for path, p in built.named_parameters() if path.endswith("weight")]
    assert hc.nn.encoders.count_weights(short) == sum(p.data.size for p in weights)


# --- safetensors


def test_the_same_bits_come_back_from_safetensors(encoder, exchanged):
    save_encoder(exchanged, encoder, {"temperature": 0.2})
    loaded, notes = load_encoder(exchanged)
    assert notes == {"temperature": 0.2}
    assert loaded.recipe == encoder.recipe
    assert {n: v.tobytes() for n, v in loaded.state().items()} == {n: v.tobytes() for n, v in encoder.state().items()}


def test_the_official_package_reads_what_is_written_and_what_it_writes_is_read(encoder, exchanged):
    from safetensors.numpy import load_file, save_file

    save_encoder(exchanged, encoder)
    found = load_file(exchanged)
    assert found.keys() == encoder.state().keys()
    for name, value in encoder.state().items():
        np.testing.assert_array_equal(found[name], value, strict=True)
    save_file({name: value + 1 for name, value in found.items()}, exchanged)
    with pytest.raises(DataError, match="it has weights and no description: load_weights gives them to an encoder"):
        load_encoder(exchanged)
    twin = hc.nn.build(encoder.recipe, rng=np.random.default_rng(3))
    load_weights(exchanged, twin)
    for name, value in encoder.state().items():
        np.testing.assert_array_equal(twin.state()[name], value + 1, strict=True)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_the_weights_of_any_module_come_back(suffix, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / f"weights{suffix}"
    one, other = (hc.nn.Linear(3, 2, rng=np.random.default_rng(seed)) for seed in (0, 1))
    save_weights(path, one)
    load_weights(path, other)
    np.testing.assert_array_equal(one.weight.data, other.weight.data)
    with pytest.raises(DataError, match=r"not the weights of this module \(load_state: 'weight' has"):
        load_weights(path, hc.nn.Linear(4, 2, rng=np.random.default_rng(0)))
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        load_weights(path, other)


def test_weights_of_a_saved_encoder_can_be_taken_alone(encoder, path):
    save_encoder(path, encoder)
    twin = hc.nn.build(encoder.recipe, rng=np.random.default_rng(3))
    load_weights(path, twin)
    assert {n: v.tobytes() for n, v in twin.state().items()} == {n: v.tobytes() for n, v in encoder.state().items()}


def test_without_the_package_it_is_named(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda path: save_encoder(path, encoder), load_encoder):
        with pytest.raises(InputError, match="needs the package safetensors, which is not installed: pip install"):
            call(tmp_path / "encoder.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_safetensors_file_that_is_cut_short_or_changed_is_refused(encoder, exchanged):
    save_encoder(exchanged, encoder)
    whole, state = exchanged.read_bytes(), encoder.state()
    for length in range(0, len(whole), 61):
        exchanged.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_encoder(exchanged)
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        exchanged.write_bytes(damaged)
        try:
            found = load_encoder(exchanged)[0].state()
        except DataError:
            continue
        assert all(found[name].tobytes() == value.tobytes() for name, value in state.items())
