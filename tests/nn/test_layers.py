"""Layers: what each computes, how it is differentiated, and how modules hold parameters and state."""

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import InputError
from hypercon.nn import (
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool2d,
    Module,
    Normalize,
    ReLU,
    Sequential,
)
from hypercon.testing import gradcheck


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def as_function_of_parameters(module, x):
    """A function of all parameters, and their values in float64, for gradcheck."""
    places = [(m, name) for _, m in module.modules() for name, value in vars(m).items() if isinstance(value, hc.Tensor)]

    def f(*values):
        for (owner, name), value in zip(places, values, strict=True):
            setattr(owner, name, value)
        return module(hc.tensor(x))

    return f, [getattr(owner, name).data.astype(np.float64) for owner, name in places]


def check_gradients(module, x):
    """By the parameters and by the input, to second order."""
    f, values = as_function_of_parameters(module, x)
    if values:
        gradcheck(f, *values)
        f(*(hc.tensor(value) for value in values))
    gradcheck(module, x)


# --- linear


def test_linear_is_a_product_and_a_shift(rng):
    layer = Linear(4, 3, rng=rng)
    layer.bias.data[...] = [1, 2, 3]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(layer(hc.tensor(x)).data, x @ layer.weight.data + [1, 2, 3], rtol=1e-6)
    check_gradients(layer, x.astype(np.float64))


def test_linear_may_go_without_bias(rng):
    layer = Linear(4, 3, bias=False, rng=rng)
    assert list(layer.state()) == ["weight"]
    check_gradients(layer, rng.normal(size=(2, 4)))


def test_weights_start_with_the_variance_that_relu_keeps(rng):
    for layer, fan_in in ((Linear(200, 300, rng=rng), 200), (Conv2d(20, 100, 5, rng=rng), 20 * 25)):
        assert layer.weight.dtype == np.float32
        assert layer.weight.requires_grad
        assert layer.weight.data.mean() == pytest.approx(0, abs=0.01)
        assert layer.weight.data.var() == pytest.approx(2 / fan_in, rel=0.03)


def test_weights_are_drawn_by_the_generator():
    first, again, other = (Linear(3, 3, rng=np.random.default_rng(seed)).weight.data for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


# --- convolution and pooling


@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolution_keeps_the_size_and_a_stride_divides_it(rng, size):
    x = hc.tensor(rng.normal(size=(2, 3, 8, 6)))
    assert Conv2d(3, 4, size, rng=rng)(x).shape == (2, 4, 8, 6)
    assert Conv2d(3, 4, size, stride=2, rng=rng)(x).shape == (2, 4, 4, 3)


def test_convolution_is_a_sum_over_windows(rng):
    layer = Conv2d(2, 3, rng=rng, stride=2)
    x = rng.normal(size=(2, 2, 5, 4))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = layer(hc.tensor(x)).data
    for n, k, i, j in np.ndindex(y.shape):
        window = padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        assert y[n, k, i, j] == pytest.approx((window * layer.weight.data[k]).sum(), rel=1e-5, abs=1e-6)
    check_gradients(layer, x)


def test_max_pool_takes_the_largest_of_each_tile_and_drops_the_edge(rng):
    x = rng.normal(size=(2, 3, 5, 4))
    y = MaxPool2d(2)(hc.tensor(x)).data
    assert y.shape == (2, 3, 2, 2)
    for n, c, i, j in np.ndindex(y.shape):
        assert y[n, c, i, j] == x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max()
    check_gradients(MaxPool2d(2), x)


def test_flatten_average_and_normalize(rng):
    x = rng.normal(size=(2, 3, 5, 4))
    np.testing.assert_array_equal(Flatten()(hc.tensor(x)).data, x.reshape(2, 60))
    np.testing.assert_allclose(GlobalAveragePool()(hc.tensor(x)).data, x.mean(axis=(2, 3)))
    z = Normalize()(hc.tensor(x[:, :, 0, 0])).data
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1)
    for layer in (Flatten(), GlobalAveragePool()):
        check_gradients(layer, x)


def test_relu_cuts_off_below_zero():
    assert ReLU()(hc.tensor([-1.0, 0.0, 2.0])).data.tolist() == [0, 0, 2]


# --- batch normalisation

SHAPES = pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)], ids=["rows", "images"])


def channel_axes(shape):
    return (0, *range(2, len(shape)))


@SHAPES
def test_in_training_each_channel_is_standardised_by_its_own_batch(rng, shape):
    layer = BatchNorm(3, eps=0.0)
    layer.scale.data[...] = [1, 2, 3]
    layer.shift.data[...] = [-1, 0, 5]
    y = layer(hc.tensor(10 + 3 * rng.normal(size=shape))).data
    np.testing.assert_allclose(y.mean(axis=channel_axes(shape)), [-1, 0, 5], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=channel_axes(shape)), [1, 2, 3])


@SHAPES
def test_running_statistics_move_towards_each_batch(rng, shape):
    layer = BatchNorm(3, momentum=0.25)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = 2 + rng.normal(size=shape)
        layer(hc.tensor(x))
        mean += 0.25 * (x.mean(axis=channel_axes(shape)) - mean)
        var += 0.25 * (x.var(axis=channel_axes(shape), ddof=1) - var)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-6)


@SHAPES
def test_in_evaluation_the_running_statistics_are_used_and_kept(rng, shape):
    layer = BatchNorm(3)
    layer.scale.data[...] = [1, 2, 3]
    layer.shift.data[...] = [-1, 0, 5]
    layer(hc.tensor(rng.normal(size=shape)))
    layer.eval()
    before = layer.state()
    x = rng.normal(size=shape)
    y = layer(hc.tensor(x)).data
    column = (1, 3, *([1] * (len(shape) - 2)))
    mean, var, scale, shift = (
        before[name].reshape(column) for name in ("running_mean", "running_var", "scale", "shift")
    )
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + layer.eps) * scale + shift, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(hc.tensor(x[:1])).data, y[:1], rtol=1e-12)  # no instance sees another
    for name, value in layer.state().items():
        np.testing.assert_array_equal(value, before[name])


@SHAPES
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_can_be_differentiated_twice(rng, shape, affine, training):
    check_gradients(BatchNorm(3, affine=affine).train(training), rng.normal(size=shape))


def test_without_affine_there_is_nothing_to_train_and_the_output_is_centred(rng):
    layer = BatchNorm(3, affine=False)
    assert layer.parameters() == []
    y = layer(hc.tensor(5 + rng.normal(size=(8, 3)))).data
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)


def test_a_constant_channel_becomes_zero_and_not_nan():
    assert (BatchNorm(2)(hc.tensor(np.ones((4, 2)))).data == 0).all()


# --- modules


class Branches(Module):
    """Tensors, modules and lists of modules side by side."""

    def __init__(self, rng):
        self.gain = hc.tensor([2.0], requires_grad=True)
        self.left = Linear(2, 2, rng=rng)
        self.norms = [BatchNorm(2), Sequential(BatchNorm(2, affine=False), ReLU())]

    def __call__(self, x):
        for norm in self.norms:
            x = norm(x)
        return self.left(x) * self.gain


def test_parameters_and_buffers_have_paths(rng):
    assert [path for path, _ in Branches(rng).named_parameters()] == [
        "gain",
        "left.weight",
        "left.bias",
        "norms.0.scale",
        "norms.0.shift",
    ]
    assert set(Branches(rng).state()) - {path for path, _ in Branches(rng).named_parameters()} == {
        "norms.0.running_mean",
        "norms.0.running_var",
        "norms.1.layers.0.running_mean",
        "norms.1.layers.0.running_var",
    }


def test_training_and_evaluation_reach_every_module(rng):
    net = Branches(rng)
    assert all(module.training for _, module in net.modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.modules())
    net.train()
    assert all(module.training for _, module in net.modules())


def test_sequential_applies_its_layers_in_order(rng):
    net = Sequential(Linear(3, 4, rng=rng), ReLU(), Linear(4, 2, rng=rng))
    x = hc.tensor(rng.normal(size=(5, 3)))
    by_hand = net.layers[2](net.layers[1](net.layers[0](x)))
    assert (net(x).data == by_hand.data).all()


def test_gradients_are_forgotten_on_request(rng):
    layer = Linear(3, 2, rng=rng)
    layer(hc.tensor(np.ones((1, 3)))).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    layer.zero_grad()
    assert all(p.grad is None for p in layer.parameters())


def test_a_layer_shows_its_sizes_when_printed(rng):
    assert repr(Linear(3, 4, rng=rng)) == "Linear(3, 4)"
    assert repr(Linear(3, 4, bias=False, rng=rng)) == "Linear(3, 4, bias=False)"
    assert repr(Conv2d(1, 2, 5, stride=2, rng=rng)) == "Conv2d(1, 2, 5, stride=2)"
    assert repr(BatchNorm(3, affine=False)) == "BatchNorm(3, affine=False)"
    assert [repr(MaxPool2d(3)), repr(ReLU())] == ["MaxPool2d(3)", "ReLU()"]


def test_a_module_shows_its_parts_and_how_many_parameters_they_have_when_printed(rng):
    assert repr(Branches(rng)).splitlines() == [
        "Branches: 11 parameters",
        "  left: Linear(2, 2)",
        "  norms.0: BatchNorm(2)",
        "  norms.1: Sequential",
        "    0: BatchNorm(2, affine=False)",
        "    1: ReLU()",
    ]
    assert sum(p.data.size for p in Branches(rng).parameters()) == 11


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (lambda rng: Linear(3, 2, rng=rng), (5, 4), r"Linear got shape \(5, 4\), expected \(N, inputs\), axis -1 of"),
        (
            lambda rng: Conv2d(3, 2, rng=rng),
            (5, 4, 8, 8),
            r"Conv2d got shape .*\(N, channels, H, W\), axis 1 of length 3",
        ),
        (lambda rng: BatchNorm(3), (5, 4), "BatchNorm got shape .* axis 1 of length 3"),
        (lambda rng: BatchNorm(3).eval(), (5, 1), "BatchNorm got shape .* axis 1 of length 3"),
        (lambda rng: GlobalAveragePool(), (5, 4), "GlobalAveragePool got shape"),
    ],
)
def test_a_layer_names_itself_where_the_shape_is_wrong(rng, layer, shape, message):
    with pytest.raises(InputError, match=message):
        layer(rng)(hc.tensor(np.ones(shape)))


def test_a_module_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Module must define __call__"):
        Module()(1)


def test_moving_to_the_cpu_keeps_the_values(rng):
    net = Branches(rng)
    before = net.state()
    assert net.to("cpu") is net
    assert net.device == "cpu"
    for path, value in net.state().items():
        np.testing.assert_array_equal(value, before[path])


# --- state


def test_a_state_is_a_copy(rng):
    net = Branches(rng)
    state = net.state()
    net.left.weight.data[...] = 0
    net.norms[0].running_mean[...] = 7
    assert (state["left.weight"] != 0).all()
    assert (state["norms.0.running_mean"] == 0).all()
    state["gain"][...] = 5
    assert net.gain.data.tolist() == [2]


def test_loading_a_state_makes_two_modules_equal(rng):
    one, other = Branches(rng), Branches(rng)
    one(hc.tensor(rng.normal(size=(4, 2))))
    weight = other.left.weight
    other.load_state(one.state())
    assert other.left.weight is weight  # optimisers hold on to the tensors
    for path, value in other.state().items():
        np.testing.assert_array_equal(value, one.state()[path])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("gain"), "'gain' and 0 other names are not in both"),
        (lambda s: s.update(more=np.zeros(1)), "'more' and 0 other names are not in both"),
        (lambda s: s.clear(), "'gain' and 8 other names are not in both"),
        (lambda s: s.update(gain=np.zeros(2)), r"'gain' has float64 \(2,\), expected float64 \(1,\)"),
        (
            lambda s: s.update({"left.bias": np.zeros(2)}),
            r"'left.bias' has float64 \(2,\), expected float32 \(2,\)",
        ),
        (
            lambda s: s.update({"norms.1.layers.0.running_var": np.zeros((1, 2), np.float32)}),
            r"'norms.1.layers.0.running_var' has float32 \(1, 2\), expected float32 \(2,\)",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(rng, spoil, message):
    net = Branches(rng)
    before, state = net.state(), {path: value + 1 for path, value in net.state().items()}
    spoil(state)
    with pytest.raises(InputError, match=message):
        net.load_state(state)
    for path, value in net.state().items():
        np.testing.assert_array_equal(value, before[path])


# --- batch normalisation with a ReLU behind it


class Leaky(ReLU):
    def __call__(self, x):
        return hc.maximum(x, 0.1 * x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("behind", [[ReLU], [ReLU, ReLU], [Leaky], []])
def test_a_sequence_computes_what_its_layers_do_one_after_the_other(training, behind):
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)

    def results(call):
        layers = [BatchNorm(3), *(make() for make in behind), BatchNorm(3)]
        net = Sequential(*layers).train(training)
        leaf = hc.tensor(x, requires_grad=True)
        out = call(net, leaf)
        (out**3).sum().backward()
        return out.data, leaf.grad.data, *net.state().values()

    def apart(net, x):
        for layer in net.layers:
            x = layer(x)
        return x

    for got, wanted in zip(results(lambda net, x: net(x)), results(apart), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
