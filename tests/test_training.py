"""The training loop: it learns, it repeats itself bit for bit, and it stops when something is wrong."""

import math
from functools import partial

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DtypeError, InputError, TrainingError

IMAGES = hc.data.load("digits").images


def train(seed=0, *, images=IMAGES[:256], rate=2e-3, make=None, **settings):
    """A short training of a small encoder; gives the encoder and the history."""
    rng = np.random.default_rng(seed)
    make = make or partial(hc.nn.mlp, widths=(32,), dim=8)
    encoder = make(images.shape[1:], rng=rng)
    defaults = {"loss": "info_nce", "temperature": 0.2, "epochs": 1, "batch_size": 64, "augment": hc.data.mild()}
    if callable(settings.get("loss")):
        del defaults["temperature"]
    optimizer = hc.optim.Adam(encoder.parameters(), rate)
    return encoder, hc.fit(encoder, images, optimizer=optimizer, rng=rng, **(defaults | settings))


def in_bytes(encoder):
    return b"".join(value.tobytes() for value in encoder.state().values())


# --- it repeats itself


@pytest.mark.parametrize("make", [None, partial(hc.nn.cnn, widths=(4, 8), strides=(2, 2), dim=8)], ids=["mlp", "cnn"])
def test_the_same_seed_gives_the_same_bytes(make):
    (first, history), (again, repeated), (other, _) = (train(seed, make=make) for seed in (1, 1, 2))
    assert in_bytes(first) == in_bytes(again)
    assert history.losses == repeated.losses
    assert in_bytes(first) != in_bytes(other)


def test_a_name_and_the_same_loss_as_a_function_give_the_same_bytes():
    for name in ("info_nce", "nt_xent"):
        named, _ = train(loss=name, temperature=0.3)
        called, _ = train(loss=partial(getattr(hc, name), temperature=0.3))
        assert in_bytes(named) == in_bytes(called)


def test_a_progress_bar_changes_nothing(capsys):
    quiet, _ = train()
    assert capsys.readouterr().err == ""
    shown, _ = train(progress="digits at 0.2")
    text = capsys.readouterr().err
    assert in_bytes(quiet) == in_bytes(shown)
    assert "digits at 0.2" in text
    assert f"chance {math.log(64):.3f}" in text


# --- it learns


@pytest.mark.parametrize("loss", ["info_nce", "nt_xent"])
def test_the_loss_falls_from_chance_towards_the_floor(loss):
    _, history = train(images=IMAGES, loss=loss, epochs=5, batch_size=128, rate=4e-3)
    chance, floor = hc.losses.chance(loss, 128), hc.losses.floor(loss, 128, 0.2)
    assert 0.5 * chance < history.losses[0] < 1.5 * chance
    assert floor < history.final_loss(5) < 0.75 * history.losses[0]


def test_training_makes_neighbours_of_a_class():
    digits, test = hc.data.load("digits"), hc.data.load("digits", "test")

    def accuracy(encoder):
        return hc.metrics.knn_accuracy(
            encoder.embed(digits.images)[1], digits.labels, encoder.embed(test.images)[1], test.labels
        )

    hardly, _ = train(images=digits.images, epochs=1, batch_size=128, rate=1e-9)
    trained, _ = train(images=digits.images, epochs=5, batch_size=128, rate=4e-3)
    assert accuracy(trained) > accuracy(hardly) + 0.1


def test_the_encoder_is_trained_in_training_mode_and_ends_in_evaluation_mode():
    def evaluating(shape, rng):
        return hc.nn.mlp(shape, widths=(16,), dim=4, rng=rng).eval()

    encoder, _ = train(make=evaluating)
    assert not any(module.training for _, module in encoder.modules())
    assert (encoder.head.layers[-2].running_mean != 0).all()


def test_the_images_are_left_as_they_are():
    images = IMAGES[:128].copy()
    images.setflags(write=False)
    train(images=images)
    assert (images == IMAGES[:128]).all()


def test_all_stays_in_float32():
    seen = []

    def watched(z1, z2):
        value = hc.info_nce(z1, z2, temperature=np.float64(0.2))
        seen.extend([z1.dtype, z2.dtype, value.dtype])
        return value

    encoder, _ = train(loss=watched, images=IMAGES[:128].astype(np.float64))
    assert set(seen) == {np.dtype(np.float32)}
    assert all(value.dtype == np.float32 for value in encoder.state().values())


def test_two_views_of_each_image_arrive_in_the_same_row():
    class Marked:
        """Views that tell their image by one pixel and their side by another."""

        def two_views(self, images, *, rng):
            one, other = images.copy(), images.copy()
            one[:, 0, 0, 1], other[:, 0, 0, 1] = 0, 1
            return one, other

    images = np.zeros((20, 1, 2, 2), np.float32)
    images[:, 0, 0, 0] = np.arange(20)
    rows = []

    class Transparent(hc.nn.Module):
        def __init__(self):
            self.weight = hc.tensor(np.ones(1, np.float32), requires_grad=True)

        def __call__(self, x):
            return hc.reshape(x, (len(x), -1)) * self.weight

    def loss(z1, z2):
        rows.append((z1.data[:, :2], z2.data[:, :2]))
        return ((z1 - z2) * (z1 - z2)).mean()

    train(images=images, augment=Marked(), batch_size=5, loss=loss, make=lambda shape, rng: Transparent(), rate=1e-9)
    for one, other in rows:
        np.testing.assert_allclose(one[:, 0], other[:, 0], rtol=1e-6)
        assert (one[:, 1] == 0).all()
        np.testing.assert_allclose(other[:, 1], 1, rtol=1e-6)
    assert sorted(np.concatenate([one[:, 0] for one, _ in rows]).round().tolist()) == list(range(20))


# --- the history


def test_the_history_counts_steps_and_time():
    _, history = train(epochs=3, batch_size=100)
    assert history.steps == len(history.losses) == 6  # 256 images hold two full batches of 100
    assert history.batch_size == 100
    assert history.seconds > 0
    assert history.images_per_second == pytest.approx(600 / history.seconds)
    assert history.final_loss(2) == pytest.approx(sum(history.losses[-2:]) / 2)
    assert all(type(value) is float for value in history.losses)


def test_a_history_without_steps_has_no_speed():
    assert hc.History().images_per_second == 0


# --- it stops


def test_a_loss_that_is_nan_stops_training_before_it_reaches_the_weights():
    kept = []

    def breaks_at_the_third(z1, z2):
        kept.append(z1)
        return hc.info_nce(z1, z2, temperature=0.2) * (math.nan if len(kept) == 3 else 1.0)

    rng = np.random.default_rng(0)
    encoder = hc.nn.mlp((1, 8, 8), widths=(16,), dim=4, rng=rng)
    with pytest.raises(TrainingError, match="the loss is no longer finite at step 2: use a smaller learning rate"):
        hc.fit(
            encoder,
            IMAGES[:256],
            loss=breaks_at_the_third,
            optimizer=hc.optim.Adam(encoder.parameters(), 1e-3),
            epochs=1,
            batch_size=64,
            augment=hc.data.mild(),
            rng=rng,
        )
    assert all(np.isfinite(value).all() for value in encoder.state().values())


@pytest.mark.parametrize("loss", ["info_nce", "nt_xent"])
def test_a_learning_rate_beyond_all_bounds_is_a_training_error(loss):
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="the embeddings are no longer finite at step"):
        train(loss=loss, rate=1e38)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "triplet"}, InputError, "loss got 'triplet', expected one of info_nce, nt_xent"),
        ({"temperature": None}, InputError, 'loss "info_nce" needs a temperature, for example temperature=0.2'),
        ({"temperature": 0}, InputError, "temperature got 0, expected a positive finite number"),
        ({"temperature": -1.0}, InputError, "temperature got -1"),
        ({"temperature": math.nan}, InputError, "temperature got nan"),
        ({"temperature": "warm"}, DtypeError, "temperature got 'warm'"),
        (
            {"loss": lambda z1, z2: z1.sum(), "temperature": 0.2},
            InputError,
            "temperature is for a loss given by name",
        ),
        ({"epochs": 0}, InputError, "epochs got 0, expected at least 1"),
        ({"batch_size": 0}, InputError, "batch_size got 0, expected 2 to 256, the number of images"),
        ({"batch_size": 1}, InputError, "batch_size got 1"),
        ({"batch_size": 257}, InputError, "batch_size got 257"),
        ({"images": IMAGES[:256, 0]}, InputError, r"images got shape \(64, 8, 8\), expected \(N, C, H, W\)"),
        ({"images": (IMAGES[:256] * 16).astype(np.uint8)}, DtypeError, "images got uint8, expected floats"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        train(**settings)
