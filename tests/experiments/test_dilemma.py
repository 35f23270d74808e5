"""The dilemma: its records, going on where it stopped, and (slow) the paper's orderings for every one of 5 seeds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import hypercon as hc
from hypercon import threads
from hypercon.errors import DataError, DtypeError, HyperconError, InputError
from hypercon.experiments import dilemma, measuring, report
from hypercon.nn import load_encoder, mlp, save_encoder

SMALL = dilemma.Settings(data="digits", temperatures=(0.1, 1.0), epochs=1)

DIGITS = dilemma.load_both("digits")


def decided(settings):
    return dilemma.decide(settings, *DIGITS)


@pytest.fixture
def no_training(monkeypatch):
    def trained(*args, **options):
        raise AssertionError("trained")

    monkeypatch.setattr(dilemma, "fit", trained)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("dilemma")
    return out, dilemma.run(SMALL, out)


def test_the_file_holds_what_the_function_returns(finished):
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert results["schema"] == 2
    assert list(results) == ["schema", "settings", "versions", "runs", "claims"]
    assert list(json.loads((out / "results.json").read_text())["runs"][0]) == list(results["runs"][0])


def test_every_run_has_every_measure(finished):
    expected = {
        "temperature", "loss", "chance", "floor", "uniformity", "uniformity_limit", "tolerance", "tolerance_gap",
        "alignment", "knn_z", "knn_h", "knn_z_10", "linear_h", "linear_h_10", "entropy", "effective_negatives",
        "false_negative_share", "steps", "seconds", "images_per_second",
    }  # fmt: skip
    for run in finished[1]["runs"]:
        assert set(run) == expected
        assert list(run["uniformity"]) == ["0.5", "2", "5"]  # t = 2, and 1 / (2 tau) of each temperature
        assert run["floor"] < run["loss"] <= run["chance"] * 1.05
        for t, value in run["uniformity"].items():
            assert 0 < value < 1.05 * run["uniformity_limit"][t]


def test_all_temperatures_start_from_the_same_weights_and_see_the_same_views(monkeypatch):
    starts = []
    real = dilemma.fit

    def remember(encoder, images, **options):
        starts.append((encoder.state(), options["rng"].bit_generator.state))
        return real(encoder, images, **options)

    monkeypatch.setattr(dilemma, "fit", remember)
    train, _ = DIGITS
    for tau in SMALL.temperatures:
        dilemma._train(decided(SMALL), tau, train, False)
    (first, first_rng), (second, second_rng) = starts
    assert first_rng == second_rng
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_the_same_settings_give_the_same_bytes(finished, tmp_path):
    out, results = finished
    again = dilemma.run(SMALL, tmp_path)
    for one, other in zip(results["runs"], again["runs"], strict=True):
        timing = {"seconds", "images_per_second"}
        assert {k: v for k, v in one.items() if k not in timing} == {k: v for k, v in other.items() if k not in timing}
    for path in out.glob("encoder-*.npz"):
        with np.load(path) as one, np.load(tmp_path / path.name) as other:
            for name in set(one.files) - {"header"}:
                assert one[name].tobytes() == other[name].tobytes()


# --- what an earlier run left


def contents(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def left(finished, tmp_path):
    """A folder of its own with what a finished run left."""
    shutil.copytree(finished[0], tmp_path / "left")
    return tmp_path / "left"


def test_finished_temperatures_are_taken_up_and_not_trained_again(finished, left, no_training):
    before = contents(left)
    said = []
    assert dilemma.run(SMALL, left, say=said.append) == finished[1]
    assert sum("taken up" in line for line in said) == 2
    assert contents(left) == before  # to the byte, the order of the keys and the picture included


def test_one_temperature_more_trains_that_one_alone(finished, left, monkeypatch):
    trained = []
    real = dilemma.fit

    def remember(encoder, images, **options):
        trained.append(options["temperature"])
        return real(encoder, images, **options)

    monkeypatch.setattr(dilemma, "fit", remember)
    more = replace(SMALL, temperatures=(0.1, 0.25, 1.0))
    results = dilemma.run(more, left)
    assert trained == [0.25]
    for run in results["runs"]:
        assert list(run["uniformity"]) == ["0.5", "2", "5"]  # 1 / (2 * 0.25) is 2, which all have
    cold = dilemma.run(replace(SMALL, temperatures=(0.05, 0.1, 1.0)), left)
    assert trained == [0.25, 0.05]
    for run, earlier in zip(cold["runs"][1:], finished[1]["runs"], strict=True):
        assert list(run["uniformity"]) == ["0.5", "2", "5", "10"]  # measured anew, at the scale of 0.05 too
        assert run["loss"] == earlier["loss"]
        assert run["uniformity"]["5"] == earlier["uniformity"]["5"]


def test_the_order_of_temperatures_does_not_matter_to_what_is_finished(left, no_training):
    results = dilemma.run(replace(SMALL, temperatures=(1.0, 0.1)), left)
    assert [run["temperature"] for run in results["runs"]] == [1.0, 0.1]


def test_the_checkpoint_of_a_temperature_that_is_left_out_stays_and_is_named(left, no_training):
    said = []
    results = dilemma.run(replace(SMALL, temperatures=(0.1,)), left, say=said.append)
    assert [run["temperature"] for run in results["runs"]] == [0.1]
    assert (left / "encoder-tau-1.npz").exists()
    assert any("encoder-tau-1.npz stays, and is not part of these results" in line for line in said)


CHANGES = {
    "seed": ({"seed": 1}, "seed 0 there, 1 now"),
    "epochs": ({"epochs": 2}, "epochs 1 there, 2 now"),
    "loss": ({"loss": "nt_xent"}, "loss info_nce there, nt_xent now"),
    "batch": ({"batch_size": 128}, "batch_size 256 there, 128 now"),
    "window": ({"window": 0.7}, "window 0.8 there, 0.7 now"),
    "data": ({"data": "fashion-mini"}, "data digits there, fashion-mini now"),
}


@pytest.mark.parametrize("gone", ["results.json", "encoder-tau-0.1.npz"])
@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_results_of_other_settings_are_refused_and_left_untouched(left, no_training, change, message, gone):
    (left / gone).unlink()  # a run that was interrupted has left no results, and one whose checkpoints went no encoders
    before = contents(left)
    with pytest.raises(InputError, match=rf"^out got .*{message}.*choose another --out, or --overwrite"):
        dilemma.run(replace(SMALL, **change), left)
    assert contents(left) == before


def test_a_setting_that_was_open_and_is_now_given_as_it_was_decided_is_no_other_setting(left, no_training):
    dilemma.run(replace(SMALL, window=0.8, device="cpu"), left)


def test_overwriting_leaves_nothing_of_the_other_settings_and_nothing_else_is_lost(left):
    (left / "notes.txt").write_text("mine")
    results = dilemma.run(replace(SMALL, seed=1, temperatures=(0.2,)), left, overwrite=True)
    assert sorted(path.name for path in left.iterdir()) == [
        "dilemma.png",
        "encoder-tau-0.2.npz",
        "notes.txt",
        "results.json",
    ]
    assert results["settings"]["seed"] == 1


def test_overwriting_with_the_same_settings_goes_on_where_it_stopped(left, no_training):
    (left / "results.json").unlink()
    dilemma.run(SMALL, left, overwrite=True)


def test_a_file_that_has_changed_is_other_data_and_one_that_was_moved_is_not(tmp_path, no_training, monkeypatch):
    monkeypatch.setattr(dilemma, "fit", lambda *args, **options: hc.History([1.0], 8, 1.0))
    images, labels = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    settings = replace(SMALL, data=str(tmp_path / "own.npz"), batch_size=8)
    dilemma.run(settings, tmp_path / "out")
    (tmp_path / "own.npz").rename(tmp_path / "moved.npz")
    moved = replace(settings, data=str(tmp_path / "moved.npz"))
    dilemma.run(moved, tmp_path / "out", say=(said := []).append)
    assert sum("taken up" in line for line in said) == 2
    for changed in ({"images": images[::-1], "labels": labels}, {"images": images, "labels": labels[::-1]}):
        np.savez(tmp_path / "moved.npz", **changed)
        with pytest.raises(InputError, match=r"the images or labels of .*moved\.npz have changed"):
            dilemma.run(moved, tmp_path / "out")


@pytest.mark.parametrize("old", ['{"schema": 1, "runs": []}', "[]", "not json", ""])
def test_results_of_another_version_are_refused(left, no_training, old):
    (left / "results.json").write_text(old)
    with pytest.raises(InputError, match=r"results.json .*schema (1|unknown) there, 2 now: written by another version"):
        dilemma.run(SMALL, left)


def test_a_checkpoint_that_is_someone_elses_is_refused(left, no_training):
    save_encoder(left / "encoder-tau-7.npz", mlp((1, 8, 8), rng=np.random.default_rng(0)), {"mine": 1})
    with pytest.raises(InputError, match=r"encoder-tau-7.npz .*schema unknown there"):
        dilemma.run(SMALL, left)


def test_seeds_are_refused_before_the_first_is_trained(left, no_training):
    (left / "seed-2").mkdir()
    for path in [path for path in left.iterdir() if path.is_file()]:
        path.rename(left / "seed-2" / path.name)  # of seed 0, where one of seed 2 belongs
    with pytest.raises(InputError, match="seed 0 there, 2 now"):
        report.repeat(SMALL, left, 3)
    (left / "seed-2").rename(left / "seed-0")
    with pytest.raises(InputError, match="epochs 1 there, 3 now"):  # its table would take the place of theirs
        report.repeat(replace(SMALL, seed=5, epochs=3), left, 2)
    assert sorted(path.name for path in left.iterdir()) == ["seed-0"]


def test_seeds_side_by_side_are_those_one_after_the_other(tmp_path):
    threads.set_threads(1)  # as each process has: another number adds in another order
    try:
        settings = replace(SMALL, temperatures=(0.5,))
        table = report.repeat(settings, tmp_path / "one", 2, say=lambda line: None)
        assert report.repeat(settings, tmp_path / "two", 2, jobs=2) == table
    finally:
        threads.set_threads(None)
    for seed in ("seed-0", "seed-1"):
        one, two = (load_encoder(tmp_path / run / seed / "encoder-tau-0.5.npz")[0].state() for run in ("one", "two"))
        assert all((one[path] == two[path]).all() for path in one)


def test_a_damaged_checkpoint_is_trained_anew(tmp_path):
    settings = replace(SMALL, temperatures=(0.5,))
    dilemma.run(settings, tmp_path)
    path = tmp_path / "encoder-tau-0.5.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    said = []
    dilemma.run(settings, tmp_path, say=said.append)
    assert any("encoder-tau-0.5.npz" in line and "training it anew" in line for line in said)
    assert not any("np.savez" in line for line in said)
    assert load_encoder(path)[1]["temperature"] == 0.5


def test_without_labels_what_needs_them_is_left_out_and_said_so(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).uniform(size=(60, 20, 18, 3)))
    settings = replace(SMALL, data=str(tmp_path / "images.npz"), batch_size=16)
    said = []
    results = dilemma.run(settings, tmp_path, say=said.append)
    assert any("no labels" in line for line in said)
    for run in results["runs"]:
        assert run["tolerance"] is None
        assert run["knn_z"] is None
        assert run["uniformity"]["2"] > 0
    table = report.table(results)
    assert "tolerance" not in table
    assert "uniformity" in table


def test_a_failure_while_measuring_leaves_no_results(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise HyperconError("planted")

    monkeypatch.setattr(dilemma, "measure", fail)
    with pytest.raises(HyperconError, match="planted"):
        dilemma.run(SMALL, tmp_path)
    assert not list(tmp_path.iterdir())


# --- what cannot be carried out, and what cannot be measured


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"temperatures": ()}, InputError, "temperatures got none"),
        ({"temperatures": 0.2}, DtypeError, "temperatures got 0.2, expected several numbers"),
        ({"temperatures": ("warm",)}, DtypeError, "temperatures got 'warm', expected a positive number"),
        ({"temperatures": (0.2, float("nan"))}, InputError, "temperatures got nan"),
        ({"seed": None}, DtypeError, "seed got None, expected a whole number from 0"),
        ({"seed": 0.5}, InputError, "seed got 0.5, expected a whole number from 0"),
        ({"epochs": 1.5}, InputError, "epochs got 1.5, expected a whole number from 1"),
        ({"batch_size": 12.5}, InputError, "batch_size got 12.5, expected a whole number from 2"),
        ({"batch_size": "many"}, DtypeError, "batch_size got 'many'"),
        ({"window": "wide"}, DtypeError, "window got 'wide'"),
        ({"window": 1.5}, InputError, "window got 1.5, expected a share"),
        ({"loss": None}, InputError, "loss got None"),
        ({"device": None}, HyperconError, "device got None"),
        ({"data": None}, DtypeError, "data got None"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_their_own_name(tmp_path, no_training, change, error, message):
    with pytest.raises(error, match=message):
        dilemma.run(replace(SMALL, **change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["", " ", None, 3])
def test_a_folder_without_a_name_is_refused(no_training, monkeypatch, tmp_path, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"out got .*, expected the name of a folder"):
        dilemma.run(SMALL, out)
    assert not list(tmp_path.iterdir())


UNMEASURABLE = {
    "no pair": ([0, 1, 2] * 10, [0, 1, 2], "no two of the 3 held-out images share a class"),
    "one class": ([0, 1] * 15, [1, 1, 1], "all held-out images are of one class"),
    "unknown class": ([0, 1] * 15, [0, 0, 7, 1], "class '7' is held out 1 time.s. but not trained on"),
    "few to vote": ([0, 1, 0, 1], [0, 0, 1], "4 labelled training images, expected at least 5"),
}


@pytest.mark.parametrize(("labels", "test_labels", "message"), UNMEASURABLE.values(), ids=UNMEASURABLE)
def test_what_could_not_be_measured_is_refused_before_training(tmp_path, no_training, labels, test_labels, message):
    pixels = np.random.default_rng(0).random((40, 8, 8))
    arrays = {"images": pixels[: len(labels)], "labels": labels}
    arrays |= {"test_images": pixels[: len(test_labels)], "test_labels": test_labels}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=message):
        dilemma.run(replace(SMALL, data=str(tmp_path / "own.npz"), batch_size=4), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- claims


def record(temperature, **measures):
    return {
        "temperature": temperature,
        "uniformity": {"2": 1.0, "5": 1.0},
        "tolerance": 0.0,
        "tolerance_gap": 0.0,
    } | measures


def verdicts(values, scale=1.0):
    """Of the four claims, for measures that rise with these values and uniformity that falls."""
    records = [
        record(tau, tolerance=scale * v, tolerance_gap=scale * v, uniformity={"2": -scale * v, "5": -scale * v})
        for tau, v in zip((0.1, 0.2, 1.0), values, strict=True)
    ]
    return [claim["verdict"] for claim in dilemma.judge(records)]


def test_a_claim_holds_where_its_ordering_does_and_not_elsewhere():
    assert verdicts((1, 2, 3)) == ["holds"] * 4
    assert verdicts((3, 2, 1)) == ["does not hold"] * 4
    assert verdicts((2, 1, 3)) == ["does not hold", "holds", "does not hold", "holds"]
    assert verdicts((1, 3, 2)) == ["does not hold"] * 4


def test_values_that_tie_within_rounding_decide_nothing():
    assert verdicts((0, 0, 0)) == ["not decided"] * 4
    for values in ((1, 2, 3), (3, 2, 1)):
        assert verdicts(values, scale=1e-7) == ["not decided"] * 4
    assert verdicts((1, 1, 2)) == ["not decided", "holds", "not decided", "holds"]
    assert verdicts((1, 1, 0)) == ["does not hold"] * 4  # one step decides against, whatever the other


def test_encoders_that_see_the_same_in_every_image_decide_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(dilemma, "fit", lambda *args, **options: hc.History([1.0], 8, 1.0))
    pixels = np.random.default_rng(0).random((40, 8, 8))
    same = np.broadcast_to(pixels[:1], (6, 8, 8))
    labels = np.arange(40) % 2
    np.savez(tmp_path / "own.npz", images=pixels, labels=labels, test_images=same, test_labels=labels[:6])
    results = dilemma.run(replace(SMALL, data=str(tmp_path / "own.npz"), batch_size=8), tmp_path / "out")
    assert [claim["verdict"] for claim in results["claims"]] == ["not decided"] * 4
    assert report.table(results).count("\nnot decided") == 4
    assert "holds for 0 of 2 seeds, not decided for 2" in report.seeds_table([results, results])


def test_the_name_of_a_sharpness_is_the_sharpness_that_was_measured():
    at = measuring.sharpnesses(dilemma.Settings(temperatures=(0.07, 0.0701, 0.3)))
    assert at == {"1.67": 1.67, "2": 2.0, "7.13": 7.13, "7.14": 7.14}


def test_one_temperature_is_no_ordering():
    assert dilemma.judge([record(0.1)]) == []


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "fashion-mini"])
@pytest.mark.parametrize("seed", range(5))
def test_the_dilemma_shows_for_every_seed(data, seed, tmp_path):
    results = dilemma.run(dilemma.Settings(data=data, seed=seed), tmp_path)
    cold, mild, warm = results["runs"]
    assert cold["uniformity"]["7.14"] > mild["uniformity"]["7.14"] > warm["uniformity"]["7.14"]
    assert cold["tolerance_gap"] < mild["tolerance_gap"] < warm["tolerance_gap"]
    assert max(cold["tolerance"], mild["tolerance"]) < warm["tolerance"]
    assert min(cold["uniformity"]["2"], mild["uniformity"]["2"]) > warm["uniformity"]["2"]
    assert all(claim["verdict"] == "holds" for claim in results["claims"])
