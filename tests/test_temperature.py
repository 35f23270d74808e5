"""Temperatures as objects: learned, swinging, one for each instance. Every loss takes them all."""

from functools import partial

import numpy as np
import pytest

import hypercon as hc
from hypercon import losses
from hypercon.errors import DtypeError, InputError
from hypercon.losses.infonce import from_definition
from hypercon.testing import gradcheck

LABELS = np.array([0, 1, 0, 2, 1])
LOSSES = {
    "info_nce": losses.info_nce,
    "symmetric": partial(losses.info_nce, symmetric=True),
    "nt_xent": losses.nt_xent,
    "hard_info_nce": partial(losses.hard_info_nce, k=2),
    "first_order_limit": losses.first_order_limit,
    "dcl": losses.dcl,
    "dclw": partial(losses.dcl, sigma=0.5),
    "debiased": losses.debiased,
    "hcl": losses.hcl,
    "sup_con": lambda a, b, **settings: losses.sup_con(a, b, LABELS, **settings),
    "sup_con, scaled": lambda a, b, **settings: losses.sup_con(a, b, LABELS, base_temperature=0.07, **settings),
    "queue": lambda a, b, **settings: losses.queue_info_nce(a, b, views(1)[0], **settings),
    "definition": from_definition,
    "definition of nt_xent": partial(from_definition, loss="nt_xent"),
}
each = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def views(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(5, 4))
    return z, z + 0.7 * rng.normal(size=z.shape)


def similarities(z1, z2):
    u, v = hc.normalize(z1), hc.normalize(z2)
    return u @ v.T


# --- one for each instance


@each
def test_equal_temperatures_are_one_temperature(loss):
    one = loss(*views(), temperature=0.3)
    assert loss(*views(), temperature=np.full(5, 0.3)) == pytest.approx(one, rel=1e-13)
    assert loss(*views(), temperature=[0.3] * 5) == pytest.approx(one, rel=1e-13)


@each
def test_every_instance_has_its_own_and_its_own_gradient(loss):
    taus = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    z1, z2 = views()
    gradcheck(lambda a, t: loss(a, z2, temperature=t), z1, taus)
    alone = hc.grad(lambda t: loss(z1, z2, temperature=t))(taus)
    together = hc.grad(lambda t: loss(z1, z2, temperature=t * np.ones(5)))(0.3)
    same = hc.grad(lambda t: loss(z1, z2, temperature=t))(np.full(5, 0.3))
    assert alone.shape == (5,)
    assert together == pytest.approx(same.sum(), rel=1e-10)


def test_the_temperature_of_an_instance_is_that_of_its_anchors():
    taus, (z1, z2) = np.array([0.1, 0.2, 0.4, 0.8, 1.6]), views()
    s = similarities(z1, z2)
    rows = -np.diag(s) / taus + np.log(np.exp(s / taus[:, None]).sum(axis=1))
    columns = -np.diag(s) / taus + np.log(np.exp(s.T / taus[:, None]).sum(axis=1))
    assert losses.info_nce(z1, z2, temperature=taus) == pytest.approx(rows.mean(), rel=1e-12)
    both = losses.info_nce(z1, z2, temperature=taus, symmetric=True)
    assert both == pytest.approx((rows.mean() + columns.mean()) / 2, rel=1e-12)


def test_a_vector_takes_the_dtype_of_the_embeddings():
    z1, z2 = (hc.tensor(z.astype(np.float32)) for z in views())
    assert losses.nt_xent(z1, z2, temperature=np.full(5, 0.3)).dtype == np.float32


@pytest.mark.parametrize(
    ("temperature", "error", "message"),
    [
        (np.full(4, 0.1), InputError, r"temperature got shape \(4,\), expected one number, or \(5,\)"),
        (np.array([0.1, 0.2, -0.3, 0.1, 0.1]), InputError, "temperature got -0.3 for instance 2"),
        (np.array([0.1, 0.2, np.nan, 0.1, 0.1]), InputError, "temperature got nan for instance 2"),
        (np.array(["a"] * 5), DtypeError, "temperature got an array of <U1"),
        ([[0.1], [0.2, 0.3]], InputError, "temperature got a list that is no regular array"),
        (lambda: 0.1, DtypeError, "temperature got <function"),
    ],
)
def test_vectors_that_make_no_sense_are_refused(temperature, error, message):
    with pytest.raises(error, match=message):
        losses.info_nce(*views(), temperature=temperature)


# --- learned


def learned(initial, **bounds):
    return hc.LearnedTemperature(initial, dtype="float64", **bounds)


@each
def test_every_loss_takes_objects_and_gives_a_learned_one_its_gradient(loss):
    temperature = learned(0.3)
    value = loss(*views(), temperature=temperature)
    assert float(value) == pytest.approx(loss(*views(), temperature=0.3), rel=1e-13)
    value.backward()
    by_tau = hc.grad(lambda tau: loss(*views(), temperature=tau))(0.3)
    assert float(temperature.log_scale.grad) == pytest.approx(-0.3 * by_tau, rel=1e-10)  # tau = exp(-log_scale)
    assert loss(*views(), temperature=hc.CosineTemperature(0.1, 0.3, 10)) == loss(*views(), temperature=0.3)


@pytest.mark.parametrize("tau", [0.05, 0.5, 5.0])
def test_the_gradient_is_the_positive_less_the_mean_similarity_over_tau_squared(tau):
    """dL/dtau = (s_ii - E_P[s]) / tau^2, and dL/d(1/tau) = E_P[s] - s_ii."""
    s = similarities(*views())
    p = hc.softmax(s / tau, axis=1)
    expected = (np.diag(s) - (p * s).sum(axis=1)) / tau**2
    assert hc.grad(lambda t: losses.info_nce(*views(), temperature=t))(tau) == pytest.approx(expected.mean(), rel=1e-10)
    by_instance = hc.grad(lambda t: losses.info_nce(*views(), temperature=t))(np.full(5, tau))
    np.testing.assert_allclose(by_instance, expected / 5, rtol=1e-10)


def test_a_learned_temperature_falls_to_its_bound_once_the_positives_lead_and_can_leave_it_again():
    z1, z2 = views()[0], views()[0] + 0.01
    temperature = learned(0.2, lowest=0.05)
    optimizer = hc.optim.Adam(temperature.parameters(), 0.1)
    for _ in range(60):
        losses.info_nce(z1, z2, temperature=temperature).backward()
        optimizer.step()
    assert temperature.value == pytest.approx(0.05)
    for _ in range(60):  # now the positives are the least similar
        losses.info_nce(z1, -z2, temperature=temperature).backward()
        optimizer.step()
    assert temperature.value > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hc.LearnedTemperature(0), "initial got 0"),
        (lambda: hc.LearnedTemperature(0.001), "initial got 0.001, expected a temperature from 0.01 to 100"),
        (lambda: hc.LearnedTemperature(0.1, lowest=1, highest=0.5), "initial got 0.1"),
        (lambda: hc.CosineTemperature(1.0, 0.1, 10), "lowest got 1, expected at most 0.1"),
        (lambda: hc.CosineTemperature(0.1, 1.0, 1), "period got 1, expected at least 2"),
        (lambda: hc.CosineTemperature(0.1, 1.0, 2.5), "period got 2.5"),
    ],
)
def test_objects_that_make_no_sense_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_subclass_without_a_temperature_says_what_it_must_define():
    with pytest.raises(NotImplementedError, match="must define __call__"):
        hc.Temperature()()


# --- swinging


def test_a_cosine_temperature_goes_from_its_highest_to_its_lowest_and_back():
    temperature = hc.CosineTemperature(0.1, 1.0, period=8)
    seen = []
    for _ in range(9):
        seen.append(temperature.value)
        temperature.step()
    assert seen[0] == seen[8] == pytest.approx(1.0)
    assert seen[4] == pytest.approx(0.1)
    np.testing.assert_allclose(seen[:5], seen[8:3:-1])
    assert (np.diff(seen[:5]) < 0).all()


# --- in training


def trained(temperature, optimized=()):
    rng = np.random.default_rng(0)
    images = hc.data.load("digits").images[:512]
    encoder = hc.nn.mlp(images.shape[1:], widths=(32,), dim=16, rng=rng)
    optimizer = hc.optim.Adam([*encoder.parameters(), *optimized], 1e-2)
    settings = {"loss": "info_nce", "optimizer": optimizer, "epochs": 3, "batch_size": 64, "rng": rng}
    return hc.fit(encoder, images, temperature=temperature, augment=hc.data.mild(flip=False), **settings)


def test_training_moves_a_cosine_temperature_by_a_step_each():
    temperature = hc.CosineTemperature(0.1, 1.0, period=1000)
    assert trained(temperature).steps == temperature.steps == 24


def test_training_learns_a_temperature_whose_parameters_the_optimiser_has():
    temperature = hc.LearnedTemperature(0.5)
    assert trained(temperature).steps == 24
    assert temperature.value == pytest.approx(0.5)
    temperature = hc.LearnedTemperature(0.5)
    trained(temperature, temperature.parameters())
    assert temperature.value < 0.45


def test_objects_say_what_they_are():
    assert repr(learned(0.25)) == "LearnedTemperature(0.25, lowest=0.01, highest=100)"
    assert repr(hc.CosineTemperature(0.1, 1.0, 4)) == "CosineTemperature(0.1 to 1, period=4, now 1)"


# --- its state


def test_a_state_that_is_taken_over_is_the_others():
    for make in (lambda: hc.CosineTemperature(0.1, 1.0, period=10), lambda: hc.LearnedTemperature(0.2)):
        one, other = make(), make()
        if isinstance(one, hc.LearnedTemperature):
            one.log_scale.data -= 0.3
        else:
            one.step()
        assert one.value != other.value
        other.load_state(one.state())
        assert one.value == other.value


def test_a_temperature_of_ones_own_has_its_numbers_and_tensors_as_state():
    class Own(hc.Temperature):
        def __init__(self):
            self.now, self.count, self.on = 0.5, 3, True
            self.scale = hc.tensor(np.ones(2, np.float32))
            self.words = "no state"

        def __call__(self):
            return self.now

    one, other = Own(), Own()
    one.now, one.count, one.on = 0.25, 4, False
    one.scale.data[0] = 7
    other.load_state(one.state())
    assert (other.now, other.count, other.on) == (0.25, 4, False)
    assert [type(value) for value in (other.now, other.count, other.on)] == [float, int, bool]
    assert other.scale.data.tolist() == [7, 1]
    with pytest.raises(InputError, match="load_state: '__class__' is neither a number nor a tensor of Own"):
        other.load_state({"__class__": np.array(1)})
