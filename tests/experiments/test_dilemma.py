"""The dilemma: its records, going on where it stopped, and (slow) the paper's orderings for every one of 5 seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hypercon.errors import HyperconError
from hypercon.experiments import dilemma, report
from hypercon.nn import load_encoder

SMALL = dilemma.Settings(data="digits", temperatures=(0.1, 1.0), epochs=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("dilemma")
    return out, dilemma.run(SMALL, out)


def test_the_file_holds_what_the_function_returns(finished):
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert results["schema"] == 1


def test_every_run_has_every_measure(finished):
    expected = {
        "temperature", "loss", "chance", "floor", "uniformity", "uniformity_floor", "tolerance", "tolerance_gap",
        "alignment", "knn_z", "knn_h", "knn_z_10", "linear_h", "linear_h_10", "entropy", "effective_negatives",
        "false_negative_share", "steps", "seconds", "images_per_second",
    }  # fmt: skip
    for run in finished[1]["runs"]:
        assert set(run) == expected
        assert list(run["uniformity"]) == ["0.5", "2", "5"]  # t = 2, and 1 / (2 tau) of each temperature
        assert run["floor"] < run["loss"] <= run["chance"] * 1.05
        assert all(value <= 0 for value in run["uniformity_floor"].values())


def test_all_temperatures_start_from_the_same_weights_and_see_the_same_views(monkeypatch):
    starts = []
    real = dilemma.fit

    def remember(encoder, images, **options):
        starts.append((encoder.state(), options["rng"].bit_generator.state))
        return real(encoder, images, **options)

    monkeypatch.setattr(dilemma, "fit", remember)
    train, _ = dilemma.load_both("digits")
    for tau in SMALL.temperatures:
        dilemma._train(SMALL, dilemma.plan_for(train), tau, train, "cpu", False)
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


def test_finished_temperatures_are_taken_up_and_not_trained_again(finished, monkeypatch):
    out, results = finished

    def no_training(*args, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(dilemma, "fit", no_training)
    said = []
    again = dilemma.run(SMALL, out, say=said.append)
    assert again["runs"] == results["runs"]
    assert sum("taken up" in line for line in said) == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 2}, {"loss": "nt_xent"}, {"batch_size": 128}])
def test_other_settings_are_not_taken_for_the_finished_ones(finished, change):
    path = finished[0] / "encoder-tau-0.1.npz"
    assert dilemma._finished_run(path, SMALL, 0.1, print) is not None
    assert dilemma._finished_run(path, replace(SMALL, **change), 0.1, print) is None


def test_a_damaged_checkpoint_is_trained_anew(tmp_path):
    settings = replace(SMALL, temperatures=(0.5,))
    dilemma.run(settings, tmp_path)
    path = tmp_path / "encoder-tau-0.5.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    said = []
    dilemma.run(settings, tmp_path, say=said.append)
    assert any("training it anew" in line for line in said)
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


def record(temperature, **measures):
    return {
        "temperature": temperature,
        "uniformity": {"2": 1.0, "5": 1.0},
        "tolerance": 0.0,
        "tolerance_gap": 0.0,
    } | measures


def test_a_claim_that_does_not_hold_is_said_not_to_hold():
    rising = [
        record(tau, tolerance_gap=tau, uniformity={"2": -tau, "5": -tau}, tolerance=tau) for tau in (0.1, 0.2, 1.0)
    ]
    assert all(claim["holds"] for claim in dilemma.judge(rising))
    falling = [
        record(tau, tolerance_gap=-tau, uniformity={"2": tau, "5": tau}, tolerance=-tau) for tau in (0.1, 0.2, 1.0)
    ]
    assert not any(claim["holds"] for claim in dilemma.judge(falling))
    assert not any(
        claim["holds"] for claim in dilemma.judge([record(0.1), record(0.2), record(1.0)])
    )  # ties hold nothing


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
    assert all(claim["holds"] for claim in results["claims"])
