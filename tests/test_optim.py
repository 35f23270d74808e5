"""Optimisers and schedules against closed forms and the algorithms as published."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import DtypeError, HyperconError, InputError
from hypercon.optim import LARS, SGD, Adam, Optimizer, cosine, warmup

drawn = settings(max_examples=25, deadline=None, derandomize=True)
rates = st.floats(1e-4, 0.5)
starts = st.lists(st.floats(-3, 3), min_size=1, max_size=4)


def descend(optimizer, parameter, steps, gradient):
    """Steps with a gradient that is a function of the parameter's values."""
    for _ in range(steps):
        parameter.grad = hc.tensor(np.asarray(gradient(parameter.data), dtype=parameter.dtype))
        optimizer.step()
    return parameter.data


def leaf(values, dtype=np.float64):
    return hc.tensor(np.array(values, dtype=dtype), requires_grad=True)


# --- SGD


@given(starts, rates, st.floats(0.1, 1.5), st.integers(1, 20))
@drawn
def test_sgd_on_a_parabola_shrinks_by_one_factor_a_step(start, rate, curvature, steps):
    x = leaf(start)
    descend(SGD([x], rate), x, steps, lambda x: curvature * x)
    np.testing.assert_allclose(x.data, (1 - rate * curvature) ** steps * np.array(start), rtol=1e-12, atol=1e-300)


@given(rates, st.floats(0, 0.95), st.integers(1, 20))
@drawn
def test_momentum_on_a_slope_adds_up_a_geometric_series(rate, momentum, steps):
    x = leaf([0.0])
    descend(SGD([x], rate, momentum=momentum), x, steps, lambda x: [1.0])
    velocities = [(1 - momentum**n) / (1 - momentum) for n in range(1, steps + 1)]
    assert x.data[0] == pytest.approx(-rate * sum(velocities), rel=1e-12)


def test_sgd_follows_the_gradient_that_backward_leaves():
    x = leaf([1.0, -2.0])
    (x * x).sum().backward()
    SGD([x], 0.25).step()
    assert x.data.tolist() == [0.5, -1.0]


# --- Adam


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=4), rates)
@drawn
def test_adams_first_step_is_the_rate_whatever_the_gradient(sizes, rate):
    gradient = np.array(sizes) * (-1.0) ** np.arange(len(sizes))
    x = leaf(np.zeros(len(sizes)))
    descend(Adam([x], rate), x, 1, lambda x: gradient)
    np.testing.assert_allclose(x.data, -rate * np.sign(gradient), rtol=2e-6)


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.99), st.floats(0, 0.999), st.floats(0, 0.5))
@drawn
def test_adam_is_the_published_algorithm(seed, beta1, beta2, decay):
    # Kingma & Ba 2015, Algorithm 1, with the decay of Loshchilov & Hutter 2019, Algorithm 2
    rng = np.random.default_rng(seed)
    gradients, rate, eps = rng.normal(size=8), 0.03, 1e-8
    theta, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - rate * decay * theta - rate * m_hat / (math.sqrt(v_hat) + eps)
    x, remaining = leaf([1.0]), iter(gradients)
    optimizer = Adam([x], rate, betas=(beta1, beta2), weight_decay=decay)
    descend(optimizer, x, len(gradients), lambda x: [next(remaining)])
    assert x.data[0] == pytest.approx(theta, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_adam_does_not_see_the_scale_of_the_loss(scale):
    plain, scaled = leaf([1.0, -3.0]), leaf([1.0, -3.0])
    descend(Adam([plain], 0.1), plain, 10, lambda x: x)
    descend(Adam([scaled], 0.1), scaled, 10, lambda x: scale * x)
    np.testing.assert_allclose(scaled.data, plain.data, rtol=1e-3)


@given(starts, rates, st.floats(0, 1), st.integers(1, 10))
@drawn
def test_weight_decay_alone_shrinks_parameters_apart_from_the_gradient(start, rate, decay, steps):
    x = leaf(start)
    descend(Adam([x], rate, weight_decay=decay), x, steps, np.zeros_like)
    np.testing.assert_allclose(x.data, (1 - rate * decay) ** steps * np.array(start), rtol=1e-12, atol=1e-300)


# --- LARS


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.95), st.floats(0, 0.5), st.floats(1e-3, 1))
@drawn
def test_lars_is_the_published_algorithm(seed, momentum, decay, trust):
    # You et al. 2017, Algorithm 1
    rng = np.random.default_rng(seed)
    gradients, rate = rng.normal(size=(6, 2, 3)), 0.3
    w, v = np.arange(1.0, 7.0).reshape(2, 3), np.zeros((2, 3))
    x, remaining = leaf(w), iter(gradients)
    for g in gradients:
        local = trust * np.linalg.norm(w) / (np.linalg.norm(g) + decay * np.linalg.norm(w))
        v = momentum * v + rate * local * (g + decay * w)
        w = w - v
    descend(LARS([x], rate, momentum=momentum, weight_decay=decay, trust=trust), x, 6, lambda x: next(remaining))
    np.testing.assert_allclose(x.data, w, rtol=1e-9)


@pytest.mark.parametrize("start", [[1.0, -3.0], 2.0])
def test_lars_moves_scales_and_shifts_as_sgd_does_and_without_decay(start):
    layerwise, plain = leaf(start), leaf(start)
    descend(LARS([layerwise], 0.1, momentum=0.5, weight_decay=0.3), layerwise, 5, lambda x: x)
    descend(SGD([plain], 0.1, momentum=0.5), plain, 5, lambda x: x)
    np.testing.assert_allclose(layerwise.data, plain.data, rtol=1e-12)


@pytest.mark.parametrize(
    ("start", "gradient"), [(np.zeros((2, 2)), np.ones((2, 2))), (np.ones((2, 2)), np.zeros((2, 2)))]
)
def test_lars_moves_a_layer_without_length_or_slope_as_sgd_does(start, gradient):
    x = leaf(start)
    descend(LARS([x], 0.5), x, 1, lambda x: gradient)
    np.testing.assert_array_equal(x.data, start - 0.5 * gradient)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_lars_does_not_see_the_scale_of_the_loss(scale):
    plain, scaled = leaf([[1.0, -3.0]]), leaf([[1.0, -3.0]])
    descend(LARS([plain], 0.1), plain, 10, lambda x: x)
    descend(LARS([scaled], 0.1), scaled, 10, lambda x: scale * x)
    np.testing.assert_allclose(scaled.data, plain.data, rtol=1e-9)


# --- what all share

OPTIMISERS = {
    "lars": lambda parameters, rate: LARS(parameters, rate, weight_decay=0.1),
    "sgd": lambda parameters, rate: SGD(parameters, rate, momentum=0.9),
    "adam": lambda parameters, rate: Adam(parameters, rate, weight_decay=0.1),
}
optimisers = pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)


@optimisers
def test_a_parameter_without_a_gradient_stays(make):
    moved, kept = leaf([1.0]), leaf([1.0])
    optimizer = make([moved, kept], 0.1)
    moved.grad = hc.tensor([1.0])
    optimizer.step()
    assert moved.data[0] < 1
    assert kept.data[0] == 1


@optimisers
def test_gradients_are_forgotten_and_data_updated_in_place(make):
    x = leaf([1.0])
    data = x.data
    descend(make([x], 0.1), x, 1, lambda x: [1.0])
    assert x.grad is None
    assert x.data is data


@optimisers
@pytest.mark.parametrize("rate", [0.1, np.float64(0.1), lambda step: np.float64(0.1)])
def test_float32_stays_float32(make, rate):
    x = leaf([1.0, 2.0], np.float32)
    optimizer = make([x], rate)
    descend(optimizer, x, 3, lambda x: x)
    for arrays in vars(optimizer).values():
        if isinstance(arrays, list):
            assert all(array.dtype == np.float32 for array in arrays)


@optimisers
def test_a_schedule_is_asked_for_the_rate_of_each_step(make):
    asked = []
    optimizer = make([leaf([1.0])], lambda step: asked.append(step) or 0.1)
    for _ in range(3):
        optimizer.step()
    assert asked == [0, 1, 2]


def test_the_rate_of_a_schedule_is_used():
    x = leaf([0.0])
    descend(SGD([x], lambda step: 10.0**-step), x, 3, lambda x: [-1.0])
    assert x.data[0] == pytest.approx(1.11)


def test_a_schedule_that_gives_no_rate_is_refused_at_its_step():
    x = leaf([1.0])
    for rate, message in (
        (math.nan, "step 0 got nan"),
        (-0.1, "step 0 got -0.1, expected 0 or more"),
        ("x", "got 'x'"),
    ):
        with pytest.raises(HyperconError, match=f"the schedule's rate at .*{message}"):
            SGD([x], lambda step, rate=rate: rate).step()
    assert x.data == 1


# --- schedules


@given(rates, st.integers(1, 500))
@drawn
def test_a_cosine_falls_from_the_rate_to_zero(rate, steps):
    at = cosine(rate, steps)
    values = [at(step) for step in range(steps + 1)]
    assert values[0] == rate
    assert values[-1] == pytest.approx(0, abs=1e-15)
    assert values == sorted(values, reverse=True)
    for step, value in enumerate(values):
        assert value == pytest.approx(rate * (1 + math.cos(math.pi * step / steps)) / 2)
        assert value + at(steps - step) == pytest.approx(rate)  # symmetric about its middle
    assert at(10 * steps) == values[-1]


@given(rates, st.integers(1, 50), st.integers(1, 100))
@drawn
def test_warm_up_climbs_evenly_and_the_cosine_follows(rate, warmup, rest):
    at = cosine(rate, warmup + rest, warmup=warmup)
    assert [at(step) for step in range(warmup)] == pytest.approx([rate * (step + 1) / warmup for step in range(warmup)])
    plain = cosine(rate, rest)
    assert [at(warmup + step) for step in range(rest + 1)] == pytest.approx([plain(step) for step in range(rest + 1)])


# --- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: SGD([], 0.1), "the optimiser got no parameters"),
        (lambda x: SGD([x], 0), "rate got 0, expected a positive finite number such as 1e-3"),
        (lambda x: Adam([x], -1e-3), "rate got -0.001"),
        (lambda x: Adam([x], math.nan), "rate got nan"),
        (lambda x: Adam([x], math.inf), "rate got inf"),
        (lambda x: SGD([x], 0.1, momentum=1), "momentum got 1, expected 0 <= momentum < 1"),
        (lambda x: SGD([x], 0.1, momentum=-0.1), "momentum got -0.1"),
        (lambda x: Adam([x], 0.1, betas=(0.9, 1.0)), r"betas got \(0.9, 1.0\), expected two numbers in \[0, 1\)"),
        (lambda x: Adam([x], 0.1, weight_decay=-1), "weight_decay got -1, expected 0 or more"),
        (lambda x: Adam([x], 0.1, weight_decay=math.nan), "weight_decay got nan"),
        (lambda x: cosine(0.1, 0), "steps got 0, expected at least 1"),
        (lambda x: cosine(0.1, 10, warmup=10), "cosine got 10 steps with 10 of warm-up"),
        (lambda x: cosine(0.1, 10, warmup=-1), "warmup got -1, expected at least 0"),
        (lambda x: cosine(-0.1, 10), "rate got -0.1, expected a positive finite number"),
        (lambda x: cosine(math.nan, 10), "rate got nan"),
    ],
)
def test_bad_settings_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(leaf([1.0]))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (lambda x: hc.nn.ReLU(), DtypeError, r"parameters got ReLU, expected its tensors: relu.parameters\(\)"),
        (lambda x: x, DtypeError, r"parameters got one Tensor, expected several, or a list of one: \[tensor\]"),
        (lambda x: 3, DtypeError, "parameters got int, expected those of encoder.parameters"),
        (lambda x: [x, x.data], DtypeError, "parameter 1 got ndarray, expected a Tensor that needs a gradient"),
        (lambda x: [x, x * 2], InputError, "parameter 1 was computed by multiply, expected a leaf"),
        (lambda x: [x, x], InputError, "parameters hold the same tensor twice"),
        (lambda x: [hc.tensor([1.0])], InputError, "no parameter needs a gradient: make them with requires_grad=True"),
    ],
)
def test_what_cannot_be_updated_is_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        SGD(parameters(leaf([1.0])), 0.1)


def test_an_optimiser_without_an_update_says_so():
    with pytest.raises(NotImplementedError, match="Optimizer must define _update"):
        descend(Optimizer([x := leaf([1.0])], 0.1), x, 1, lambda x: x)


# --- warm-up


@given(rates, st.integers(1, 30))
@drawn
def test_warmup_rises_in_equal_stairs_and_stays(rate, steps):
    at = warmup(rate, steps)
    np.testing.assert_allclose(np.diff([0, *(at(step) for step in range(steps))]), rate / steps, rtol=1e-9)
    assert at(steps - 1) == at(steps) == at(1000) == pytest.approx(rate, rel=1e-15)


def test_warmup_of_a_schedule_ends_on_it():
    along = cosine(1.0, 100)
    at = warmup(along, 10)
    assert at(4) == pytest.approx(0.5 * along(4))
    assert [at(step) for step in (9, 50, 99)] == [along(step) for step in (9, 50, 99)]


@pytest.mark.parametrize(
    ("rate", "steps", "error"), [(0.0, 5, InputError), (1.0, 0, InputError), (1.0, 2.5, InputError)]
)
def test_warmup_refuses_what_is_no_rate_or_no_number_of_steps(rate, steps, error):
    with pytest.raises(error):
        warmup(rate, steps)


@optimisers
def test_a_step_makes_no_arrays_of_its_own(make):
    x = leaf(np.ones((300, 500)))
    optimizer = make([x], 0.1)
    descend(optimizer, x, 2, np.ones_like)
    x.grad = hc.tensor(np.ones((300, 500)))
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.1 * x.data.nbytes


# --- its state


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1, momentum=0.9), lambda p: Adam(p, 0.1), lambda p: LARS(p, 0.1)],
    ids=["sgd", "adam", "lars"],
)
def test_a_state_that_is_taken_over_goes_on_as_the_other_would(make, device):
    def fresh():
        return hc.tensor(np.array([1.0, -2.0]), device=device, requires_grad=True)

    def steps(x, optimizer, count):
        for _ in range(count):
            (x * x * x).sum().backward()
            optimizer.step()

    whole = fresh()
    steps(whole, make([whole]), 7)
    stopped = fresh()
    before = make([stopped])
    steps(stopped, before, 3)
    state, values = before.state(), np.array(hc.backend.to_host(stopped.data))
    going_on = hc.tensor(values, device=device, requires_grad=True)
    after = make([going_on])
    after.load_state(state)
    steps(stopped, before, 1)  # what was given is a copy
    steps(going_on, after, 4)
    np.testing.assert_array_equal(hc.backend.to_host(going_on.data), hc.backend.to_host(whole.data), strict=True)


def test_the_state_of_another_optimiser_is_refused_and_nothing_is_changed():
    x, y = (hc.tensor(np.zeros(n), requires_grad=True) for n in (2, 3))
    optimizer = SGD([x], 0.1)
    with pytest.raises(InputError, match=r"load_state got steps, mean.0, square.0, expected steps, velocity.0"):
        optimizer.load_state(Adam([x], 0.1).state())
    with pytest.raises(InputError, match=r"load_state: 'velocity.0' has float64 \(3,\), expected float64 \(2,\)"):
        optimizer.load_state(SGD([y], 0.1).state() | {"steps": np.array(9)})
    assert optimizer.steps == 0


def test_the_rate_of_a_step_is_the_schedules():
    x = hc.tensor(np.zeros(2), requires_grad=True)
    assert SGD([x], 0.1).rate_at(99) == 0.1
    assert SGD([x], hc.optim.cosine(1.0, 100)).rate_at(0) == 1.0
    with pytest.raises(InputError, match="the schedule's rate at step 3 got -1"):
        SGD([x], lambda step: -1.0).rate_at(3)
