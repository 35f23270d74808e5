"""Damaged and hostile files are refused in hypercon's own words, at no cost, or are worth what the good one was."""

import json
import struct

import hostile
import killed_training
import numpy as np
import pytest
from hostile import BOMBS, archive, memory_of, mutations, rewritten, with_header

import hypercon as hc
from hypercon import runs
from hypercon.errors import CheckpointError, DataError, HyperconError
from hypercon.experiments.folder import check_results
from hypercon.files import checksum_by_name, read_arrays
from hypercon.nn import load_encoder, save_encoder
from hypercon.training import read_checkpoint

SETTINGS = {"data": "digits", "seed": 0, "rate": 0.002}
FEW, MANY = 40, 625  # of each of eight kinds of file: MANY are 5,000 in all


def of_a_checkpoint(path):
    killed_training.train(path.parent / "checkpoints", epochs=1)
    return next((path.parent / "checkpoints").glob("*.npz")).read_bytes()


def of_an_encoder(path):
    save_encoder(path, hc.nn.mlp((1, 2, 2), widths=(3,), dim=2, rng=np.random.default_rng(0)), {"temperature": 0.2})
    return path.read_bytes()


def of_images(path):
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (20, 4, 4), np.uint8), labels=np.arange(20) % 2)
    return path.read_bytes()


def of_packed_images(path):
    rng = np.random.default_rng(0)
    np.savez_compressed(path, images=rng.integers(0, 256, (20, 4, 4), np.uint8), labels=np.arange(20) % 2)
    return path.read_bytes()


def of_results(path):
    path.write_text(
        json.dumps({"schema": 2, "settings": {"data": "digits", "seed": 0, "rate": 0.002}, "runs": [{"a": 1}]})
    )
    return path.read_bytes()


def of_a_history(path):
    records = [
        {"epoch": i, "step": 5 * i, "loss": 1.5, "rate": 0.1, "temperature": 0.2, "seconds": 1.0} for i in (1, 2)
    ]
    runs.reading.write_history(path.parent, records)
    return (path.parent / "history.jsonl").read_bytes()


def of_settings(path):
    return json.dumps({"schema": 1, "settings": runs.settings.describe(runs.Settings(0.2, widths=(3,)))}).encode()


def values_of_a_checkpoint(path):
    found = read_checkpoint(path)
    weights = {f"{part}/{name}": value.tobytes() for part, held in found.parts.items() for name, value in held.items()}
    return weights, found.history.losses, found.history.rates, found.settings, found.rng


def values_of_an_encoder(path):
    encoder, notes = load_encoder(path)
    return {name: value.tobytes() for name, value in encoder.state().items()}, notes


def values_of_images(path):
    return [(part.images.tobytes(), part.labels.tobytes(), part.classes) for part in hc.data.load_both(path)]


def check_of_results(path):
    """A run into the folder either goes on or says that other results lie there."""
    check_results(path.parent, SETTINGS)


def check_of_a_history(path):
    (path.parent / "config.json").write_bytes(of_settings(path))
    for record in runs.read_run(path.parent).epochs:
        assert np.isfinite([record[name] for name in ("loss", "rate", "temperature", "seconds")]).all()


def check_of_settings(path):
    settings = runs.read_run(path.parent).settings
    runs.settings.decide(settings, hc.data.load("digits"))


# by kind: what makes a good file, its name, and how it is read; text without a checksum gives nothing to compare
KINDS = {
    "checkpoint": (of_a_checkpoint, "checkpoint-000000009.npz", values_of_a_checkpoint),
    "encoder": (of_an_encoder, "encoder.npz", values_of_an_encoder),
    "encoder to exchange": (of_an_encoder, "encoder.safetensors", values_of_an_encoder),
    "images": (of_images, "images.npz", values_of_images),
    "packed images": (of_packed_images, "images.npz", values_of_images),
    "results": (of_results, "results.json", check_of_results),
    "history": (of_a_history, "history.jsonl", check_of_a_history),
    "settings": (of_settings, "config.json", check_of_settings),
}


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_in_hypercons_words_or_is_as_the_good_one(kind, count, tmp_path):
    make, name, read = KINDS[kind]
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors")
    path = tmp_path / name
    whole = make(path)
    path.write_bytes(whole)
    good = read(path)
    refused = 0
    for i, damaged in enumerate(mutations(whole, count, seed=count)):
        path.write_bytes(damaged)
        found, memory = memory_of(lambda: read(path))
        assert memory < hostile.MOST_MEMORY, f"damage {i} took {memory:,} bytes"
        if isinstance(found, HyperconError):
            refused += 1
        elif isinstance(found, Exception):
            raise AssertionError(f"damage {i}") from found
        else:
            assert found == good, f"damage {i} was read as something else"
    print(f"{kind}: {count} damaged, {refused} refused, the others {'of the right form' if good is None else 'equal'}")
    assert refused > count / 2 or good is None


# --- malice


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_anything_is_allocated_for_it(bomb, tmp_path):
    path = tmp_path / "bomb.npz"
    path.write_bytes(archive(BOMBS[bomb]))
    assert path.stat().st_size < 2**21
    for read in (read_arrays, hc.data.load_both, load_encoder, read_checkpoint):
        found, memory = memory_of(lambda read=read: read(path))
        assert isinstance(found, DataError), found
        assert "bomb.npz: not an .npz file of plain arrays" in str(found)
        assert memory < hostile.MOST_MEMORY


def test_a_member_that_lies_about_its_length_is_refused(tmp_path):
    path = tmp_path / "lies.npz"
    content = bytearray(archive({"images.npy": hostile.member(hostile.claim("|u1", (2**20,)), bytes(2**20))}))
    shorter = 2**19
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(mark) + at
        content[start : start + 4] = struct.pack("<I", shorter)
    path.write_bytes(content)
    found, memory = memory_of(lambda: read_arrays(path))
    assert isinstance(found, DataError)
    assert memory < hostile.MOST_MEMORY


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "twice.npz"
    array = hostile.member(hostile.claim("|u1", (1,)), b"x")
    content = archive({"a.npy": array, "b.npy": array}).replace(b"b.npy", b"a.npy")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"it holds a\.npy twice"):
        read_arrays(path)


def test_an_entry_that_hides_the_next_is_found_by_the_archives_own_count(tmp_path):
    path = tmp_path / "hidden.npz"
    array = hostile.member(hostile.claim("|u1", (1,)), b"x")
    content = bytearray(archive({"images.npy": array, "labels.npy": array}))
    entry = content.index(b"PK\x01\x02")
    following = content.index(b"PK\x01\x02", entry + 1)
    content[entry + 32 : entry + 34] = struct.pack("<H", content.index(b"PK\x05\x06") - following)  # a comment's length
    path.write_bytes(content)
    with pytest.raises(DataError, match="it counts 2 arrays, and 1 can be found"):
        read_arrays(path)


def test_what_may_be_packed_well_is_not_taken_for_a_bomb(tmp_path):
    path = tmp_path / "black.npz"
    np.savez_compressed(path, images=np.zeros((2000, 32, 32), np.uint8))
    assert len(read_arrays(path)["images"]) == 2000


@pytest.fixture
def checkpoint(tmp_path):
    """The folder of a training, and the bytes of its newest checkpoint."""
    folder = tmp_path / "checkpoints"
    killed_training.train(folder, epochs=1)
    (path,) = folder.glob("*.npz")
    return folder, path, path.read_bytes()


def forged(whole, change):
    """A checkpoint that was changed by someone who knows how its checksum is made."""

    def and_sum(arrays):
        change(arrays)
        arrays.pop("checksum")
        arrays["checksum"] = np.array(checksum_by_name(arrays))

    return rewritten(whole, and_sum)


def only(**replaced):
    return lambda arrays: arrays.update({name.replace("__", "/"): value for name, value in replaced.items()})


FORGERIES = {
    "a header that is no header": only(header=np.array("[1]")),
    "a header of brackets": only(header=np.array("[" * 100_000)),
    "steps that were not made": with_header(step=99),
    "history of another form": with_header(history=3),
    "epochs of another form": with_header(history={"batch_size": 32, "seconds": 1.0, "epochs": [3]}),
    "a generator of another form": with_header(rng={"state": 1}),
    "a generator of another kind": with_header(rng={"bit_generator": "MT19937", "state": {}}),
    "a generator with a state of another form": with_header(
        rng={"bit_generator": "PCG64", "state": {"state": "x", "inc": -1}, "has_uint32": 0, "uinteger": 0}
    ),
    "an epoch's generator of another form": with_header(rng_of_epoch={"bit_generator": "PCG64"}),
    "settings of another form": with_header(settings=[]),
    "weights of another shape": only(encoder__head__x=np.zeros(3)),
    "weights that are missing": lambda arrays: arrays.pop("encoder/head.layers.0.weight"),
    "losses of another shape": only(history__losses=np.zeros((2, 3))),
    "averages of another optimiser": only(optimizer__velocity=np.zeros(3)),
    "a temperature of another form": only(temperature__log_scale=np.zeros(3)),
    "an attribute for a temperature": only(temperature____class__=np.zeros(())),
    "a part that there is not": only(others__99=np.zeros(3)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_checkpoint_is_refused_and_nothing_is_taken_from_it(forgery, checkpoint):
    folder, path, whole = checkpoint
    path.write_bytes(forged(whole, FORGERIES[forgery]))
    rng = np.random.default_rng(0)
    hc.nn.mlp((1, 8, 8), widths=(24, 16), dim=8, rng=rng)  # as far as it was when the training began
    before = rng.bit_generator.state
    with pytest.raises(CheckpointError) as refused:
        killed_training.train(folder, epochs=2, rng=rng)
    assert "\n" not in str(refused.value)
    assert "other arguments" not in str(refused.value)
    assert rng.bit_generator.state == before


def test_a_checkpoint_whose_sum_is_of_other_content_is_refused(checkpoint):
    """The archive's own sums are right, and would let it through."""
    _, path, whole = checkpoint

    def by_a_bit(arrays):
        arrays["encoder/head.layers.0.weight"].view(np.uint32)[0, 0] ^= 1

    path.write_bytes(rewritten(whole, by_a_bit))
    assert "encoder/head.layers.0.weight" in read_arrays(path)
    with pytest.raises(DataError, match="its checksum is of other content"):
        read_checkpoint(path)


def test_an_encoder_is_no_checkpoint_and_a_checkpoint_no_encoder(checkpoint, tmp_path):
    _, path, _ = checkpoint
    with pytest.raises(DataError, match="not an encoder saved by hypercon"):
        load_encoder(path)
    of_an_encoder(tmp_path / "encoder.npz")
    with pytest.raises(DataError, match="no checkpoint of a training"):
        read_checkpoint(tmp_path / "encoder.npz")
