"""The training loop: it learns, it repeats itself bit for bit, and it stops when something is wrong."""

import math
from functools import partial

import numpy as np
import pytest

import hypercon as hc
import hypercon.testing.strict
from hypercon import threads
from hypercon.errors import DeviceError, DtypeError, InputError, TrainingError

IMAGES = hc.data.load("digits").images


def train(seed=0, *, images=IMAGES[:256], rate=2e-3, make=None, **settings):
    """A short training of a small encoder; gives the encoder and the history."""
    rng = np.random.default_rng(seed)
    make = make or partial(hc.nn.mlp, widths=(32,), dim=8)
    encoder = make(np.shape(getattr(images, "images", images))[1:], rng=rng)
    defaults = {"loss": "info_nce", "temperature": 0.2, "epochs": 1, "batch_size": 64, "augment": hc.data.mild()}
    if callable(settings.get("loss")):
        del defaults["temperature"]
    defaults |= {"optimizer": hc.optim.Adam(encoder.parameters(), rate), "rng": rng}
    return encoder, hc.fit(encoder, images, **(defaults | settings))


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
    images[:, 0, 0, 0] = np.arange(20) / 20
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
    assert sorted(np.concatenate([one[:, 0] for one, _ in rows]).tolist()) == pytest.approx(np.arange(20) / 20)


# --- the history


def test_the_history_counts_steps_and_time():
    _, history = train(epochs=3, batch_size=100)
    assert history.steps == len(history.losses) == 6  # 256 images hold two full batches of 100
    assert history.batch_size == 100
    assert history.seconds > 0
    assert history.images_per_second == pytest.approx(600 / history.seconds)
    assert history.final_loss(2) == pytest.approx(sum(history.losses[-2:]) / 2)
    assert all(type(value) is float for value in history.losses)


def test_a_history_without_steps_has_no_speed_and_no_loss():
    assert hc.History().images_per_second == 0
    assert repr(hc.History()) == "History(no steps)"
    with pytest.raises(InputError, match="the history holds no steps"):
        hc.History().final_loss()
    with pytest.raises(InputError, match="steps got 0, expected at least 1"):
        hc.History([1.0]).final_loss(0)


def test_a_history_says_in_a_line_what_happened():
    history = hc.History(losses=[5.0, 3.0, 1.0], batch_size=64, seconds=2.0)
    assert repr(history) == "History(3 steps of 64 images in 2.0 s, loss 5.000 to 3.000)"


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


@pytest.mark.parametrize("make", [hc.optim.SGD, hc.optim.Adam])
def test_a_rate_that_leaves_embeddings_without_a_direction_is_a_training_error_too(make):
    encoder = hc.nn.mlp((1, 8, 8), rng=np.random.default_rng(0))
    message = "the loss cannot take the embeddings of step 1: use a smaller learning rate .z1: row 0 is all zeros"
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=message):
        train(make=lambda shape, rng: encoder, optimizer=make(encoder.parameters(), 1e15))


def test_what_the_loss_cannot_take_from_the_start_is_no_fault_of_the_rate():
    class Nothing(hc.nn.Module):
        def __init__(self):
            self.weight = hc.tensor(np.zeros((64, 3), np.float32), requires_grad=True)

        def __call__(self, x):
            return hc.reshape(x, (len(x), -1)) @ self.weight

    with pytest.raises(InputError, match="row 0 is all zeros") as caught:
        train(make=lambda shape, rng: Nothing())
    assert not isinstance(caught.value, TrainingError)


OTHER = hc.nn.mlp((1, 8, 8), widths=(32,), dim=8, rng=np.random.default_rng(0))
CNN = hc.nn.cnn((3, 8, 8), widths=(4,), strides=(1,), dim=4, rng=np.random.default_rng(0))


class Views:
    """An augmentation that gives what it was made with."""

    def __init__(self, views):
        self.views = views

    def two_views(self, images, *, rng):
        return self.views


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "triplet"}, InputError, "loss got 'triplet', expected one of info_nce, nt_xent"),
        ({"loss": None}, InputError, "loss got None, expected one of"),
        ({"loss": lambda z1, z2: 1.0}, DtypeError, "loss gave float, expected a scalar tensor"),
        ({"loss": lambda z1, z2: z1 * z2}, DtypeError, r"loss gave shape \(64, 8\), expected a scalar tensor"),
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
        ({"epochs": 1.5}, InputError, "epochs got 1.5, expected a whole number from 1"),
        ({"epochs": "two"}, DtypeError, "epochs got 'two', expected a whole number from 1"),
        ({"batch_size": 0}, InputError, "batch_size got 0, expected at least 2: a contrastive batch needs"),
        ({"batch_size": 1}, InputError, "batch_size got 1"),
        ({"batch_size": 257}, InputError, "batch_size got 257, expected 2 to 256, the number of images"),
        ({"batch_size": 64.5}, InputError, "batch_size got 64.5, expected a whole number from 2"),
        ({"rng": 0}, DtypeError, r"rng got int, expected a generator: numpy.random.default_rng\(0\)"),
        ({"augment": None}, DtypeError, r"augment got NoneType, expected .* hypercon.data.mild\(\)"),
        ({"augment": hc.data.Augmentation}, DtypeError, "augment got the class Augmentation"),
        ({"augment": Views(None)}, InputError, "augment gave no two views of 64 images"),
        ({"augment": Views((IMAGES[:64], IMAGES[:63]))}, InputError, r"a pair of arrays of one shape, \(64, C, H, W\)"),
        ({"optimizer": hc.optim.Adam}, DtypeError, "optimizer got the class Adam, expected one such as"),
        ({"optimizer": 1e-3}, DtypeError, "optimizer got float, expected one such as"),
        ({"images": hc.data.load("digits")}, DtypeError, "images got a Dataset, expected an array: pass its .images"),
        ({"images": IMAGES.tolist()}, DtypeError, "images got list, expected an array"),
        ({"images": IMAGES[:256, 0]}, InputError, r"images got shape \(256, 8, 8\), expected \(N, C, H, W\)"),
        ({"images": (IMAGES[:256] * 16).astype(np.uint8)}, DtypeError, "images got uint8, expected floats"),
        ({"images": IMAGES * 255}, InputError, "images range from 0 to 255, expected floats from 0 to 1: divide them"),
        ({"images": IMAGES - 0.5}, InputError, "images range from -0.5 to 0.5, expected floats from 0 to 1: rescale"),
        ({"images": np.where(IMAGES == 1, np.nan, IMAGES)}, InputError, "images: row 0 has pixels that are nan"),
        ({"images": IMAGES[:, :, :, :7]}, InputError, r"shape \(1297, 1, 8, 7\), expected \(N, 1, 8, 8\): that is"),
        ({"images": IMAGES.transpose(0, 2, 3, 1)}, InputError, r"channels last, .*images.transpose\(0, 3, 1, 2\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(settings, error, message):
    made = {"optimizer": hc.optim.Adam(OTHER.parameters(), 1e-3), "make": lambda shape, rng: OTHER}
    before = [parameter.data.copy() for parameter in OTHER.parameters()]
    with pytest.raises(error, match=message):
        train(**(made | settings))
    for parameter, value in zip(OTHER.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, value)


def test_views_may_have_another_size_than_the_images():
    class Smaller:
        def two_views(self, images, *, rng):
            return images[:, :, 1:], images[:, :, :-1]

    encoder = hc.nn.cnn((1, 8, 8), widths=(4,), strides=(1,), dim=4, rng=np.random.default_rng(0))
    _, history = train(
        make=lambda shape, rng: encoder, optimizer=hc.optim.SGD(encoder.parameters(), 0.1), augment=Smaller()
    )
    assert history.steps == 4


def test_a_convolution_takes_images_of_another_size_but_not_of_other_channels():
    bigger = np.random.default_rng(0).random((64, 3, 12, 10), dtype=np.float32)
    assert CNN.embed(bigger)[1].shape == (64, 4)
    with pytest.raises(InputError, match=r"with 1 channel\(s\), expected 3, for which the encoder was made"):
        train(make=lambda shape, rng: CNN)


# --- an optimiser that is not this encoder's


def optimise(parameters, **settings):
    """A training of a fresh encoder by an optimiser over what ``parameters`` picks from it."""
    encoder = hc.nn.mlp((1, 8, 8), widths=(32,), dim=8, rng=np.random.default_rng(1))
    optimizer = hc.optim.Adam(parameters(encoder), 1e-3)
    return encoder, train(make=lambda shape, rng: encoder, optimizer=optimizer, **settings)


def test_an_optimiser_over_another_encoder_is_refused():
    with pytest.raises(InputError, match="optimizer holds none of the encoder's parameters"):
        optimise(lambda encoder: OTHER.parameters())


def test_an_optimiser_over_parts_of_an_encoder_needs_the_rest_to_be_frozen():
    with pytest.raises(InputError, match=r"lacks 3 of the encoder's 7 parameters, backbone.layers.1.weight first"):
        optimise(lambda encoder: encoder.head.parameters())

    def frozen(encoder):
        for parameter in encoder.backbone.parameters():
            parameter.requires_grad = False
        return encoder.head.parameters()

    fresh = hc.nn.mlp((1, 8, 8), widths=(32,), dim=8, rng=np.random.default_rng(1))
    encoder, _ = optimise(frozen)
    for name in ("backbone.layers.1.weight", "head.layers.0.weight"):
        changed = (encoder.state()[name] != fresh.state()[name]).any()
        assert changed == name.startswith("head")


def test_an_optimiser_that_holds_another_encoder_beside_this_one_is_refused_before_the_first_update():
    before = in_bytes(OTHER)
    with pytest.raises(InputError, match=r"holds 7 parameter.s. that are not the encoder's and that the loss does not"):
        optimise(lambda encoder: encoder.parameters() + OTHER.parameters())
    assert in_bytes(OTHER) == before


def test_an_optimiser_may_hold_parameters_of_the_loss():
    scale = hc.tensor(np.float32(0.2), requires_grad=True)
    optimise(lambda e: [*e.parameters(), scale], loss=lambda z1, z2: hc.info_nce(z1, z2, temperature=scale))
    assert scale.data != np.float32(0.2)


def test_an_encoder_that_was_moved_after_its_optimiser_was_made_is_refused():
    encoder = hc.nn.mlp((1, 8, 8), widths=(32,), dim=8, rng=np.random.default_rng(1))
    optimizer = hc.optim.Adam(encoder.parameters(), 1e-3)
    encoder.to("strict")
    message = "lies on strict, and the optimiser was made when it lay on cpu: move the encoder first"
    with pytest.raises(DeviceError, match=message):
        train(make=lambda shape, rng: encoder, optimizer=optimizer)
    with pytest.raises(DeviceError, match=message):
        optimizer.step()


def test_a_gradient_left_by_an_earlier_backward_is_not_of_this_training():
    def stale(shape, rng):
        encoder = hc.nn.mlp(shape, widths=(32,), dim=8, rng=rng)
        for parameter in encoder.parameters():
            parameter.grad = hc.tensor(np.ones(parameter.shape, np.float32))
        return encoder

    (clean, _), (after, _) = train(), train(make=stale)
    assert in_bytes(clean) == in_bytes(after)


# --- BLAS's threads


def blas_threads():
    return [library.get_num_threads() for library in threads._blas_libraries()]


@pytest.mark.parametrize(
    "make",
    [
        partial(hc.nn.mlp, widths=(32,), dim=8),
        partial(hc.nn.mlp, widths=(520, 520)),
        partial(hc.nn.cnn, widths=(4, 8, 8), dim=8),
    ],
)
def test_a_step_keeps_blas_to_one_thread_and_gives_the_rest_back(make):
    before = blas_threads()
    seen = []

    def watched(z1, z2):
        seen.append(blas_threads())
        return hc.info_nce(z1, z2, temperature=0.2)

    train(make=make, loss=watched)
    assert seen == [[1] * len(before)] * 4
    assert blas_threads() == before
    with pytest.raises(DtypeError):
        train(make=make, loss=lambda z1, z2: None)
    assert blas_threads() == before
