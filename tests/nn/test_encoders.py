"""Encoders from end to end: derivatives, precision, where embeddings start, and how images are embedded."""

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import HyperconError, InputError
from hypercon.nn import BatchNorm, Encoder, Linear, Normalize, ReLU, Sequential, build, cnn, mlp, projection_head
from hypercon.testing import gradcheck


@pytest.fixture
def rng():
    return np.random.default_rng(0)


SMALL = {
    "mlp": lambda rng: (mlp((1, 2, 2), widths=(4,), dim=3, rng=rng), (8, 1, 2, 2)),
    "cnn": lambda rng: (cnn((2, 4, 3), widths=(2, 3), strides=(1, 2), dim=3, rng=rng), (8, 2, 4, 3)),
}
small = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)


def images_of(shape, rng):
    return rng.random(shape, dtype=np.float32)


# --- derivatives and precision


@small
def test_the_loss_can_be_differentiated_twice_by_every_parameter(make, rng):
    encoder, shape = make(rng)
    views = hc.tensor(rng.random(shape))
    places = [(m, name) for _, m in encoder.modules() for name, v in vars(m).items() if isinstance(v, hc.Tensor)]

    def loss(*values):
        for (module, name), value in zip(places, values, strict=True):
            setattr(module, name, value)
        z = encoder(views)
        return hc.info_nce(z[:4], z[4:], temperature=0.5)

    gradcheck(loss, *(getattr(module, name).data for module, name in places))


@small
def test_a_training_step_stays_in_float32(make, rng):
    encoder, shape = make(rng)
    optimizer = hc.optim.Adam(encoder.parameters(), hc.optim.cosine(np.float64(1e-2), 10), weight_decay=0.1)
    x = hc.tensor(images_of(shape, rng))
    for layer in (*encoder.backbone.layers, *encoder.head.layers):
        x = layer(x)
        assert x.dtype == np.float32, type(layer).__name__
    loss = hc.nt_xent(x[:4], x[4:], temperature=np.float64(0.5))
    loss.backward()
    assert loss.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in encoder.parameters())
    optimizer.step()
    assert all(value.dtype == np.float32 for value in encoder.state().values())


@small
def test_every_parameter_is_trained(make, rng):
    encoder, shape = make(rng)
    z = encoder(hc.tensor(images_of(shape, rng)))
    hc.info_nce(z[:4], z[4:], temperature=0.5).backward()
    for path, parameter in encoder.named_parameters():
        assert np.abs(parameter.grad.data).max() > 1e-6, path


# --- where embeddings start


def mean_similarity(z):
    s = z @ z.T
    return (s.sum() - np.trace(s)) / (len(z) * (len(z) - 1))


@small
def test_the_head_ends_centred_on_the_sphere(make, rng):
    encoder, shape = make(rng)
    h = encoder.backbone(hc.tensor(images_of(shape, rng)))
    *layers, last = encoder.head.layers
    for layer in layers:
        h = layer(h)
    np.testing.assert_allclose(h.data.mean(axis=0), 0, atol=1e-6)
    assert isinstance(layers[-1], BatchNorm)
    assert layers[-1].parameters() == []
    np.testing.assert_allclose(np.linalg.norm(last(h).data, axis=1), 1, rtol=1e-6)


def test_without_a_centred_head_embeddings_start_in_a_narrow_cone(rng):
    images = hc.data.load("digits").images[:200].reshape(200, -1)

    def start(*end):
        head = (Linear(64, 64, rng=rng), ReLU(), Linear(64, 64, rng=rng), ReLU(), Linear(64, 16, rng=rng), *end)
        return mean_similarity(Sequential(*head, Normalize())(hc.tensor(images)).data)

    assert start() > 0.7
    assert abs(start(BatchNorm(16, affine=False))) < 0.05


def test_the_same_generator_gives_the_same_encoder():
    for make in SMALL.values():
        first, again, other = (make(np.random.default_rng(seed))[0].state() for seed in (1, 1, 2))
        assert all((first[path] == again[path]).all() for path in first)
        assert any((first[path] != other[path]).any() for path in first)


# --- embedding


@small
def test_embedding_gives_features_and_unit_vectors_as_arrays(make, rng):
    encoder, shape = make(rng)
    images = images_of(shape, rng)
    encoder(hc.tensor(images))
    h, z = encoder.embed(images)
    assert type(h) is type(z) is np.ndarray
    assert h.dtype == z.dtype == np.float32
    assert len(h) == len(z) == len(images)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-6)
    encoder.eval()
    np.testing.assert_allclose(z, encoder(hc.tensor(images)).data, rtol=1e-6)


@small
@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_embedding_does_not_depend_on_the_batch_size(make, rng, batch_size):
    encoder, shape = make(rng)
    images = images_of(shape, rng)
    encoder(hc.tensor(images))
    for part, whole in zip(encoder.embed(images, batch_size=batch_size), encoder.embed(images), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-6)


@small
def test_embedding_leaves_state_and_modes_as_they_were(make, rng):
    encoder, shape = make(rng)
    images = images_of(shape, rng)
    encoder.backbone.eval()  # a frozen part
    before = encoder.state()
    encoder.embed(images)

    class Broken(ReLU):
        def __call__(self, x):
            raise InputError("planted")

    encoder.head.layers.append(Broken())
    with pytest.raises(InputError, match="planted"):
        encoder.embed(images)
    encoder.head.layers.pop()
    assert encoder.training
    assert encoder.head.layers[1].training
    assert not any(module.training for _, module in encoder.backbone.modules())
    for path, value in encoder.state().items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (hc.data.load("digits"), "images got a Dataset, expected an array: pass its .images"),
        (np.zeros((2, 1, 2, 2), np.uint8), r"images got uint8, expected floats in \[0, 1\]"),
        (np.full((2, 1, 2, 2), 255.0), "images range from 255 to 255, expected floats from 0 to 1: divide them by 255"),
        (np.full((2, 1, 2, 2), np.nan), "images: row 0 has pixels that are nan"),
        (np.zeros((0, 1, 2, 2)), "expected at least one image"),
        (np.zeros((1, 2, 2)), r"expected \(N, C, H, W\): one image alone is images\[None\]"),
        (np.zeros((2, 1, 3, 3)), r"expected \(N, 1, 2, 2\): that is the size the encoder was made for"),
        (np.zeros((2, 8, 8, 3)), r"channels last, expected \(N, C, H, W\): use images.transpose\(0, 3, 1, 2\)"),
    ],
)
def test_images_that_an_encoder_cannot_embed_are_refused(rng, images, message):
    with pytest.raises(HyperconError, match=message):
        SMALL["mlp"](rng)[0].embed(images)


def test_an_encoder_shows_what_it_takes_and_is_made_of_when_printed(rng):
    encoder = mlp((1, 8, 8), widths=(256,), rng=rng)
    lines = repr(encoder).splitlines()
    assert lines[0] == f"Encoder(images (1, 8, 8)): {sum(p.data.size for p in encoder.parameters()):,} parameters"
    assert lines[1:4] == ["  backbone: Sequential", "    0: Flatten()", "    1: Linear(64, 256, bias=False)"]
    assert lines[-1] == "    5: Normalize()"


# --- recipes


@small
def test_a_recipe_builds_the_same_architecture(make, rng):
    encoder, _ = make(rng)
    twin = build(encoder.recipe, rng=rng)
    assert isinstance(twin, Encoder)
    assert twin.recipe == encoder.recipe
    assert {path: v.shape for path, v in twin.state().items()} == {path: v.shape for path, v in encoder.state().items()}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: mlp((1, 8, 8), dim=1, rng=rng), "dim got 1, expected at least 2"),
        (lambda rng: cnn((1, 8, 8), dim=0, rng=rng), "dim got 0"),
        (lambda rng: projection_head(8, 1, rng=rng), "dim got 1"),
        (lambda rng: mlp((1, 8, 8), widths=(), rng=rng), r"widths got \(\), expected at least one"),
        (lambda rng: mlp((1, 8, 8), widths=(8, 0), rng=rng), "widths got 0, expected at least 1"),
        (lambda rng: cnn((1, 8, 8), strides=(0, 1, 1), rng=rng), "strides got 0, expected at least 1"),
        (lambda rng: cnn((1, 8, 8), widths=(8, 8), rng=rng), "widths and strides got 2 and 3 numbers"),
        (lambda rng: build({"name": "vit", "shape": [1, 8, 8]}, rng=rng), "name 'vit', expected one of mlp, cnn"),
    ],
)
def test_bad_architectures_are_refused(rng, call, message):
    with pytest.raises(InputError, match=message):
        call(rng)
