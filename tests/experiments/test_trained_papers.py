"""The trained claims of the papers: every rule gives every verdict it can, and a run shares, resumes and says what it
could not measure."""

import json
from pathlib import Path

import numpy as np
import pytest

from hypercon import losses
from hypercon.autograd import grad
from hypercon.cli import main
from hypercon.data import load_both
from hypercon.errors import InputError
from hypercon.experiments.papers import CLAIMS, beyond, run, sweep
from hypercon.experiments.papers.claim import (
    HOLDS,
    RANGE,
    REFUTED,
    Claim,
    Measured,
    Panel,
    clearly_more,
    judge_order,
    ordered_over,
    over_seeds,
    rank_correlation,
)
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.making import make, train_one
from hypercon.experiments.papers.neighbour_map import neighbour_map
from hypercon.experiments.papers.reading import uniformity
from hypercon.experiments.papers.recipe import OBJECTIVES, Recipe, macl, objective

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = {record["id"]: record for record in json.loads((DOCS / "reproductions.json").read_text())}
TRAINED = [made for made in CLAIMS.values() if made.recipes]


def leaves(means):
    """Measures of several settings over five seeds with a little spread, so that 0.01 apart is clear."""
    return {name: over_seeds([mean + 0.001 * step for step in (-2, -1, 0, 1, 2)]) for name, mean in means.items()}


U = {"0.005": 0.80, "0.1": 0.86, "0.2": 0.87, "1": 0.81, "5": 0.74}
FLAT = dict.fromkeys(U, 0.9)
RISING = leaves(dict(zip(("0.05", "0.1", "0.2", "0.5"), (1, 2, 3, 4), strict=True)))


def order(name):
    return {
        HOLDS: {name: RISING, "range": ["0.05", "0.5"]},
        RANGE: {name: RISING, "range": ["0.1", "0.5"]},
        REFUTED: {name: RISING, "range": ["0.2", "0.5"]},
    }


TABLE = {
    HOLDS: {"stands": ["a"] * 9, "orderings": 9},
    RANGE: {"stands": ["a"] * 5, "orderings": 9},
    REFUTED: {"stands": ["a"] * 4, "orderings": 9},
}
ESCAPE = {
    HOLDS: {"above": leaves({"a": 0.1, "b": 0.05})},
    RANGE: {"above": leaves({"a": 0.1, "b": 0.02})},
    REFUTED: {"above": leaves({"a": 0.02, "b": -0.1})},
}
COLLAPSED = {"positive": leaves({"alignment": 0.99})}
MEASUREMENTS = {  # what would have to be measured for each verdict that a rule can give
    "wl-fig9": {
        HOLDS: {"knn_z": leaves(U), "linear_h": leaves(U)},
        RANGE: {"knn_z": leaves(U), "linear_h": leaves(FLAT)},
        REFUTED: {"knn_z": leaves(FLAT), "linear_h": leaves(U)},
    },
    "wl-fig9-hard": {
        HOLDS: {"hard": leaves({"0.2": 0.86, "1": 0.87}), "plain": leaves({"1": 0.81})},
        REFUTED: {"hard": leaves({"0.2": 0.9, "1": 0.87}), "plain": leaves({"1": 0.81})},
    },
    "wl-extreme": {
        HOLDS: {"knn_z": leaves({"0.2": 0.87, "0.005": 0.80})},
        RANGE: {"knn_z": leaves({"0.2": 0.87, "0.005": 0.84})},
        REFUTED: {"knn_z": leaves({"0.2": 0.87, "0.005": 0.87})},
    },
    "wl-simple": {
        HOLDS: {"knn_z": leaves({"0.2": 0.87, "1": 0.81, "simple": 0.7, "hard simple": 0.87})},
        REFUTED: {"knn_z": leaves({"0.2": 0.87, "1": 0.81, "simple": 0.7, "hard simple": 0.8})},
    },
    "wl-eq6-trained": {
        HOLDS: {"knn_z": leaves({"0.2": 0.87, "untrained": 0.75, "eq. 6": 0.75})},
        RANGE: {"knn_z": leaves({"0.2": 0.87, "untrained": 0.75, "eq. 6": 0.81})},
        REFUTED: {"knn_z": leaves({"0.2": 0.87, "untrained": 0.75, "eq. 6": 0.88})},
    },
    "wl-fig4": order("uniformity"),
    "wl-fig5": order("tolerance"),
    "wl-entropy-trained": order("entropy"),
    "false-negatives": order("share"),
    "wl-fig6": {
        HOLDS: {
            "hard": leaves({"0.3": 3, "0.7": 3, "1": 3}),
            "plain": leaves({"0.3": 2.5, "0.7": 2.3, "1": 2.1}),
            "change": {"hard": 0.1, "plain": 0.5},
        },
        REFUTED: {
            "hard": leaves({"0.3": 3, "0.7": 3, "1": 3}),
            "plain": leaves({"0.3": 2.5, "0.7": 2.3, "1": 2.1}),
            "change": {"hard": 0.4, "plain": 0.5},
        },
    },
    "wl-fig7": {HOLDS: {"lower_at": ["0.3", "0.7", "1"]}, RANGE: {"lower_at": ["1"]}, REFUTED: {"lower_at": []}},
    "wl-fig8-positives": order("positive"),
    "wl-fig8-gap": {
        HOLDS: {"gap": leaves({"0.07": 0.1, "0.2": 0.05, "0.5": 0.0, "1": -0.1})},
        RANGE: {"gap": leaves({"0.07": 0.1, "0.2": 0.12, "0.5": 0.0, "1": -0.1})},
        REFUTED: {"gap": leaves({"0.07": -0.1, "0.2": -0.1, "0.5": -0.1, "1": -0.1})},
    },
    "wl-fig2": {
        HOLDS: {"stands": {"a": True, "b": True, "c": True}},
        RANGE: {"stands": {"a": True, "b": False, "c": True}},
        REFUTED: {"stands": {"a": False, "b": False, "c": False}},
    },
    "wl-table1-accuracy-row": TABLE,
    "wl-table1-uniformity-row": TABLE,
    "wl-table1-tolerance-row": TABLE,
    "wi-fig3": {
        HOLDS: {"stands": {"most uniform": True, "positives closest": True, "accuracies": True}},
        RANGE: {"stands": {"most uniform": True, "positives closest": False, "accuracies": True}},
        REFUTED: {"stands": {"most uniform": False, "positives closest": True, "accuracies": True}},
    },
    "wi-fig4": {
        HOLDS: {
            "known_in_order": True,
            "contrastive_lowest": True,
            "potential": leaves({"random": 0.9, "supervised": 0.3}),
        },
        RANGE: {
            "known_in_order": True,
            "contrastive_lowest": True,
            "potential": leaves({"random": 0.3, "supervised": 0.3}),
        },
        REFUTED: {"known_in_order": True, "contrastive_lowest": False},
    },
    "wi-fig5": {
        HOLDS: {
            "encoders": 55,
            "correlation": leaves({"both": -0.8}),
            "size": leaves({"both": 0.8, "alignment": 0.3, "uniformity": 0.5}),
        },
        RANGE: {
            "encoders": 55,
            "correlation": leaves({"both": -0.8}),
            "size": leaves({"both": 0.8, "alignment": 0.3, "uniformity": 0.9}),
        },
        REFUTED: {"encoders": 39, "correlation": leaves({"both": -0.8})},
    },
    "wi-collapse": {
        HOLDS: {
            "uniformity_loss": leaves({"alignment": -0.01, "untrained": -0.5}),
            "positive": leaves({"alignment": 0.99}),
        },
        RANGE: {
            "uniformity_loss": leaves({"alignment": -0.2, "untrained": -0.5}),
            "positive": leaves({"alignment": 0.99}),
        },
        REFUTED: {
            "uniformity_loss": leaves({"alignment": -0.6, "untrained": -0.5}),
            "positive": leaves({"alignment": 0.99}),
        },
    },
    "wi-uniform-only": {
        HOLDS: {
            "uniformity": leaves({"uniformity": 3.5, "both": 3}),
            "positive": leaves({"uniformity": 0, "both": 0.5}),
            "knn_z": leaves({"uniformity": 0.7, "both": 0.9}),
        },
        RANGE: {
            "uniformity": leaves({"uniformity": 3.5, "both": 3}),
            "positive": leaves({"uniformity": 0, "both": 0.5}),
            "knn_z": leaves({"uniformity": 0.9, "both": 0.9}),
        },
        REFUTED: {"uniformity": leaves({"uniformity": 3, "both": 3})},
    },
    "wi-fig7": {
        HOLDS: {"stands": {"a": True, "b": True}},
        RANGE: {"stands": {"a": True, "b": False}},
        REFUTED: {"stands": {"a": False, "b": False}},
    },
    "wi-fig8": {
        HOLDS: {"knn_z": leaves({"start": 0.74, "alignment": 0.70, "uniformity": 0.74, "both": 0.87})},
        RANGE: {"knn_z": leaves({"start": 0.74, "alignment": 0.76, "uniformity": 0.81, "both": 0.87})},
        REFUTED: {"knn_z": leaves({"start": 0.74, "alignment": 0.70, "uniformity": 0.87, "both": 0.87})},
    },
    "wi-best": {
        HOLDS: {"best": leaves({"contrastive": 0.87, "align + uniform": 0.87})},
        REFUTED: {"best": leaves({"contrastive": 0.87, "align + uniform": 0.85})},
    },
    "dcl-small-batch": {
        HOLDS: {"lost": leaves({"nt_xent": 0.1, "dcl": 0.05})},
        RANGE: {
            "lost": leaves({"nt_xent": 0.05, "dcl": 0.05}),
            "dcl": leaves({"16": 0.81}),
            "nt_xent": leaves({"16": 0.8}),
        },
        REFUTED: {
            "lost": leaves({"nt_xent": 0.05, "dcl": 0.05}),
            "dcl": leaves({"16": 0.8}),
            "nt_xent": leaves({"16": 0.8}),
        },
    },
    "jing-collapse": {
        HOLDS: {"rank_falls_to": ["1", "2.5"], "share_lost": {"uniformity": 0.1, "effective_rank": 0.5}},
        RANGE: {"rank_falls_to": ["1"], "share_lost": {"uniformity": 0.1, "effective_rank": 0.5}},
        REFUTED: {"rank_falls_to": [], "share_lost": {"uniformity": 0.1, "effective_rank": 0.5}},
    },
    "norm-steadies": {
        HOLDS: {"diverges_less": True, "spreads_less": True},
        RANGE: {"diverges_less": True, "spreads_less": False},
        REFUTED: {"diverges_less": False, "spreads_less": False},
    },
    "separable": {
        HOLDS: {
            "margin": leaves({"start": 0, "end": 0.3}),
            "gap": leaves({"start": 0, "end": 0.5}),
            "correlation": leaves({"x": 0.9})["x"],
        },
        REFUTED: {
            "margin": leaves({"start": 0, "end": 0.3}),
            "gap": leaves({"start": 0, "end": 0.5}),
            "correlation": leaves({"x": 0.4})["x"],
        },
    },
    "uniformity-information": {
        HOLDS: {"stands": {"a": True, "b": True}},
        RANGE: {"stands": {"a": True, "b": False}},
        REFUTED: {"stands": {"a": False, "b": False}},
    },
    "spectrum": {
        HOLDS: {"within": ["a", "b", "c", "d", "e"]},
        RANGE: {"within": ["a"]},
        REFUTED: {"within": []},
    },
    **{f"escape-{name}": ESCAPE for name in sweep.ESCAPES},
}


def test_every_trained_claim_has_measurements_made_up_for_it():
    assert MEASUREMENTS.keys() == {made.id for made in TRAINED}
    assert all({HOLDS, REFUTED} <= verdicts.keys() for verdicts in MEASUREMENTS.values())


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_rule_gives_every_verdict_that_it_can(name):
    for verdict, values in MEASUREMENTS[name].items():
        assert CLAIMS[name].judge(json.loads(json.dumps(values))) == verdict


@pytest.mark.parametrize("made", TRAINED, ids=lambda made: made.id)
def test_the_documented_verdict_is_what_the_rule_says_of_the_documented_values(made):
    record = RECORDS[made.id]
    assert made.judge(record["values"]) == record["verdict"]
    assert record.get("why", "") == ("" if record["verdict"] == HOLDS else made.why(record["values"]))
    assert (record["rule"], record["claim"]) == (made.rule, made.sentence)


# --- what rules are made of


def test_one_seed_decides_by_its_sign_and_several_by_more_than_chance():
    assert clearly_more(over_seeds([0.2]), over_seeds([0.1]))
    assert not clearly_more(over_seeds([0.1]), over_seeds([0.1]))
    assert not clearly_more(over_seeds([0.0, 0.3, -0.2]), over_seeds([0.0, 0.0, 0.0]))
    assert clearly_more(over_seeds([0.3, 0.31, 0.29]), over_seeds([0.2, 0.2, 0.2]))
    assert not clearly_more(over_seeds([0.3, 0.31, 0.29]), over_seeds([0.2, 0.2, 0.2]), by=0.15)
    assert clearly_more(over_seeds([0.3, 0.31, 0.29]), 0.2)
    assert not clearly_more(0.2, over_seeds([0.3, 0.31, 0.29]))


def test_differences_are_taken_within_a_seed():
    noisy = [0.5, 0.7, 0.9]
    assert clearly_more(over_seeds([value + 0.01 for value in noisy]), over_seeds(noisy))


def test_an_order_is_looked_for_over_the_longest_stretch():
    falling = leaves({"a": 1, "b": 3, "c": 2, "d": 1, "e": 1})
    assert ordered_over(falling, rises=False) == ["b", "d"]
    assert ordered_over(falling, rises=True) == ["a", "b"]
    assert ordered_over(leaves({"a": 1, "b": 1}), rises=True) is None
    assert ordered_over(RISING, rises=True) == ["0.05", "0.5"]
    assert judge_order("x")({"x": RISING, "range": None}) == REFUTED


def test_ranks_correlate_whatever_the_scale_and_share_ties():
    assert rank_correlation([1, 2, 3], [1, 10, 100]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2], [5, 5, 9]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [5, 6, 9]) == 0


def test_leaving_the_dilemma_is_measured_from_the_line_of_fixed_temperatures():
    fixed = {0.05: (0.56, 2.6), 0.1: (0.5, 2.7), 0.3: (0.6, 2.5), 1.0: (0.8, 2.1)}
    assert beyond.reach((0.5, 2.7), fixed) == pytest.approx(0)
    assert beyond.reach((0.7, 2.4), fixed) == pytest.approx(0.1)
    assert beyond.reach((0.53, 2.65), fixed) == pytest.approx(0)  # between 0.05 and 0.1
    assert beyond.reach((0.45, 2.8), fixed) == pytest.approx(0)  # the line goes on: no temperature was left behind
    assert beyond.reach((0.9, 2.1), fixed) == pytest.approx(0)


def test_uniformity_is_read_at_any_sharpness():
    measured = {"uniformity": [7.0, *range(31)]}
    assert uniformity(measured) == 7
    assert uniformity(measured, 100) == 30
    assert 15 < uniformity(measured, 3.3) < 16


def test_macl_gives_every_positive_the_same_pull():
    rng = np.random.default_rng(0)
    similarities, identity = rng.uniform(-1, 1, (9, 9)), np.eye(9)
    slopes = grad(lambda s: macl(s, identity, temperature=0.3, alpha=0.0, normalize=False))(similarities)
    assert np.allclose(np.diag(slopes), -1 / (9 * 0.3), rtol=1e-6)
    plain = grad(lambda s: losses.info_nce(s, identity, temperature=0.3, normalize=False))(similarities)
    off = ~np.eye(9, dtype=bool)
    ratio = (slopes[off] / plain[off]).reshape(9, 8)
    assert np.allclose(ratio, ratio[:, :1])  # an anchor's negatives are weighted among each other as in InfoNCE


def test_every_objective_is_made_and_others_are_refused():
    z = np.random.default_rng(0).normal(size=(8, 4))
    for name in OBJECTIVES:
        loss, _ = objective(Recipe(name, 0.2, alpha=0.5), 10)
        assert np.isfinite(float(loss(z, -z)))
    with pytest.raises(InputError, match="loss got 'nonsense', expected one of info_nce, "):
        objective(Recipe("nonsense"), 10)


def test_recipes_that_differ_have_names_that_differ():
    recipes = {recipe for made in TRAINED for recipe in made.recipes}
    assert len({recipe.name for recipe in recipes}) == len(recipes)
    assert len(sweep.EVERYTHING) >= 40


def test_the_map_keeps_neighbours_together():
    rng = np.random.default_rng(0)
    labels = np.repeat(range(4), 25)
    z = np.eye(8)[labels] + 0.1 * rng.standard_normal((100, 8))
    at = neighbour_map(z, steps=150)
    distances = ((at[:, None] - at) ** 2).sum(axis=-1) + 1e9 * np.eye(100)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.98


# --- training and running


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two trained claims with one seed and one epoch."""
    out = tmp_path_factory.mktemp("papers")
    assert main(["reproduce", "wl-fig8-gap", "wi-collapse", "--seeds", "1", "--epochs", "1", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_records_pictures_encoders_and_a_page(finished):
    record = json.loads((finished / "wl-fig8-gap.json").read_text())
    assert record["kind"] == "trained"
    assert record["seeds"] == [0]
    assert record["settings"]["steps"] == 5
    assert len(record["settings"]["recipes"]) == 4
    assert record["verdict"] == CLAIMS["wl-fig8-gap"].judge(record["values"])
    assert (finished / "wi-collapse.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((finished / "encoders" / "digits-5-steps").glob("*.npz"))) == 7
    page = (finished / "report.html").read_text()
    assert "hypercon reproduce wi-collapse --data digits --seeds 1" in page


def test_what_is_there_is_taken_up_and_what_is_damaged_made_anew(finished, capsys):
    kept = sorted((finished / "encoders").glob("*/*.npz"))
    times = [path.stat().st_mtime_ns for path in kept]
    command = ["reproduce", "wl-fig8-gap", "wi-collapse", "--seeds", "1", "--epochs", "1", "--out", str(finished)]
    assert main(command) == 0
    assert capsys.readouterr().err.count("(taken up)") == 2
    before = (finished / "wi-collapse.json").read_bytes()
    (finished / "wi-collapse.json").write_text("{")
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    assert main(command) == 0
    assert capsys.readouterr().err.count("(taken up)") == 1
    assert json.loads(before)["values"] == json.loads((finished / "wi-collapse.json").read_text())["values"]
    assert [path.stat().st_mtime_ns for path in kept][1:] == times[1:]
    assert len(kept[0].read_bytes()) > 100


def shown(encoders):
    values = {"uniformity": over_seeds([uniformity(m) for m in encoders.measured(UNTRAINED)])}
    return Measured(values, Panel("x", "y", {"line": ([0], [0])}))


UNTRAINED = Recipe("none")
UNLABELLED = Claim("mine", "2026", "A sentence.", "a rule", shown, lambda v: HOLDS, (UNTRAINED, Recipe("none", dim=2)))
LABELLED = Claim("labelled", "2026", "A sentence.", "a rule", shown, lambda v: HOLDS, (UNTRAINED,), labels=True)


def test_processes_side_by_side_measure_what_one_does(tmp_path):
    one = run.run([UNLABELLED], tmp_path / "one", seeds=2, jobs=1)
    two = run.run([UNLABELLED], tmp_path / "two", seeds=2, jobs=2)
    assert one[0]["values"] == two[0]["values"]
    assert len(one[0]["values"]["uniformity"]["seeds"]) == 2


def test_claims_that_the_images_are_not_fit_for_are_left_out_and_the_rest_goes_on(tmp_path):
    train, test = load_both("digits")
    images, labels = train.images[:300, 0], train.labels[:300]
    np.savez(tmp_path / "bare.npz", images=images, test_images=test.images[:60, 0])
    records = run.run([LABELLED, UNLABELLED], tmp_path / "a", seeds=1, data=str(tmp_path / "bare.npz"))
    assert "left out: it needs labels, and " in records[0]["skipped"]
    assert records[1]["verdict"] == HOLDS
    assert "left out" in (tmp_path / "a" / "report.html").read_text()
    np.savez(tmp_path / "few.npz", images=images[:99], labels=labels[:99])
    records = run.run([LABELLED, CLAIMS["wl-eq6"]], tmp_path / "b", seeds=1, data=str(tmp_path / "few.npz"))
    assert "left out: it needs 256 training images for a batch, and " in records[0]["skipped"]
    assert records[1]["verdict"] == HOLDS
    command = ["reproduce", "wl-fig9", "--data", str(tmp_path / "few.npz"), "--out", str(tmp_path / "c")]
    assert main(command) == 0  # not fit for a claim is no fault of the run


def test_unknown_names_are_told_and_the_rest_goes_on(tmp_path, capsys):
    assert main(["reproduce", "wl-eq66", "wl-eq6", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "no claim is called 'wl-eq66', perhaps wl-eq6" in told.err
    assert "1 holds" in told.out


def test_a_training_that_fails_is_an_error_of_its_claims_alone(tmp_path):
    broken = Claim("broken", "2026", "A sentence.", "a rule", shown, lambda v: HOLDS, (UNTRAINED, Recipe("nonsense")))
    records = run.run([broken, UNLABELLED], tmp_path, seeds=1)
    assert "could not be measured: nonsense, seed 0: loss got 'nonsense'" in records[0]["error"]
    assert records[1]["verdict"] == HOLDS


def test_every_head_starts_from_the_same_network_and_the_same_seed_gives_the_same_weights():
    train, test = load_both("digits")
    recipe = Recipe("info_nce", 0.2, head="plain", share=0.1)
    (first, a), (second, b) = (train_one(recipe, train, test, 0, 50) for _ in range(2))
    assert all(np.array_equal(x, second.state()[name]) for name, x in first.state().items())
    assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    other = make(recipe, train, 1)
    name = "backbone.layers.1.weight"
    assert np.array_equal(make(recipe, train, 0).state()[name], make(UNTRAINED, train, 0).state()[name])
    assert not np.array_equal(make(recipe, train, 0).state()[name], other.state()[name])


def test_a_network_without_a_sphere_that_diverges_says_so_and_ends():
    train, test = load_both("digits")
    recipe = Recipe("info_nce", 1.0, head="free", optimizer="sgd", rate=1.0, share=0.2)
    encoder, measured = train_one(recipe, train, test, 0, 50)
    assert measured["diverged"]
    assert all(np.isfinite(value).all() for value in encoder.state().values())


def test_encoders_of_other_settings_are_not_taken_up(tmp_path):
    encoders = Encoders("digits", tmp_path, [0], epochs=1)
    encoders.prepare([UNTRAINED])
    path = encoders.path(UNTRAINED, 0)
    path.rename(encoders.path(Recipe("none", dim=2), 0))
    assert not encoders._finished(Recipe("none", dim=2), 0)


@pytest.mark.slow
def test_every_trained_claim_can_be_measured(tmp_path):
    records = run.run(TRAINED, tmp_path, seeds=1, jobs=2)
    assert [record["id"] for record in records if "verdict" not in record] == []
