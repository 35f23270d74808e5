"""The queue: the oldest keys go first, no gradient reaches keys, and its loss is InfoNCE with these negatives."""

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import InputError
from hypercon.losses import Queue, info_nce, queue_info_nce
from hypercon.testing import gradcheck


def rows(count, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim))


def queue_of(size, dim=3):
    return Queue(size, dim, rng=np.random.default_rng(0), dtype="float64")


# --- the queue


def test_a_new_queue_holds_random_directions_on_the_sphere():
    keys = queue_of(500).keys
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, rtol=1e-12)
    assert np.linalg.norm(keys.mean(axis=0)) < 0.15


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 12])
def test_the_last_keys_are_kept_whatever_the_size_of_a_batch(batch):
    queue, pushed = queue_of(7), rows(60)
    for start in range(0, 60 - batch + 1, batch):
        queue.push(pushed[start : start + batch])
    last = hc.normalize(pushed[: 60 // batch * batch][-7:])
    np.testing.assert_allclose(np.sort(queue.keys, axis=0), np.sort(last, axis=0), rtol=1e-12)


def test_a_queue_goes_on_from_its_state():
    queue, other = queue_of(5), Queue(5, 3, rng=np.random.default_rng(9), dtype="float64")
    queue.push(rows(3))
    other.load_state(queue.state())
    for q in (queue, other):
        q.push(rows(4, seed=1))
    np.testing.assert_array_equal(queue.keys, other.keys)
    with pytest.raises(InputError, match=r"load_state got keys \(5, 3\), expected \(6, 3\)"):
        queue_of(6).load_state(queue.state())


# --- its loss


@pytest.mark.parametrize("tau", [1e-3, 0.07, 1.0, 1e3])
def test_the_loss_is_a_softmax_over_the_positive_and_the_queue(tau):
    z1, z2, queue = rows(6), rows(6, seed=1), queue_of(20)
    u, v = hc.normalize(z1), hc.normalize(z2)
    logits = np.concatenate([(u * v).sum(axis=1, keepdims=True), u @ queue.keys.T], axis=1) / tau
    top = logits.max(axis=1)
    expected = (np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[:, 0]).mean()
    assert queue_info_nce(z1, z2, queue, temperature=tau) == pytest.approx(expected, rel=1e-10, abs=1e-13)


def test_a_queue_of_the_other_keys_gives_info_nce():
    z1, z2 = rows(5), rows(5, seed=1)
    each = [queue_info_nce(z1[i : i + 1], z2[i : i + 1], np.delete(z2, i, axis=0), temperature=0.2) for i in range(5)]
    assert np.mean(each) == pytest.approx(info_nce(z1, z2, temperature=0.2), rel=1e-12)


def test_the_gradient_reaches_queries_and_temperature_and_no_key():
    z1, z2, keys = (
        rows(4),
        hc.tensor(rows(4, seed=1), requires_grad=True),
        hc.tensor(rows(9, seed=2), requires_grad=True),
    )
    gradcheck(lambda a, t: queue_info_nce(a, z2, keys, temperature=t), z1, 0.3)
    queue_info_nce(hc.tensor(z1, requires_grad=True), z2, keys, temperature=0.3).backward()
    assert z2.grad is None
    assert keys.grad is None


def test_all_embeddings_in_one_place_give_chance_and_no_gradient():
    z = np.ones((4, 3))
    value, gradient = hc.value_and_grad(lambda a: queue_info_nce(a, z, np.ones((9, 3)), temperature=0.2))(z)
    assert value == pytest.approx(np.log(10), rel=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: queue_info_nce(rows(3), rows(4), rows(5), temperature=1), r"shapes \(3, 3\) and \(4, 3\)"),
        (lambda: queue_info_nce(rows(3), rows(3), rows(5, 2), temperature=1), "queue got 2 dimensions, expected 3"),
        (lambda: queue_info_nce(rows(3), rows(3), np.zeros((5, 3)), temperature=1), "queue: row 0 is all zeros"),
        (lambda: queue_of(3).push(rows(2, 2)), "keys got 2 dimensions, expected 3"),
        (lambda: queue_of(3).push(np.full((1, 3), np.nan)), "keys: row 0 is not finite"),
        (lambda: Queue(0, 3, rng=np.random.default_rng(0)), "size got 0, expected at least 1"),
        (lambda: hc.nn.MomentumEncoder(hc.nn.ReLU(), 1.0), "momentum got 1, expected a number from 0 to below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# --- the momentum encoder


def test_the_momentum_encoder_is_an_exponential_moving_average_that_is_not_trained():
    layer = hc.nn.Linear(2, 2, rng=np.random.default_rng(0))
    slow = hc.nn.MomentumEncoder(layer, 0.75)
    before = layer.weight.data.copy()
    layer.weight.data += 4
    slow.follow()
    np.testing.assert_allclose(slow.slow.weight.data, before + 1, rtol=1e-6)
    slow.follow()
    np.testing.assert_allclose(slow.slow.weight.data, before + 1.75, rtol=1e-6)
    assert not slow(hc.tensor(np.ones((1, 2), np.float32))).requires_grad


def test_training_with_a_queue_finds_the_positives():
    """MoCo on the digits, in small: the loss falls well below that of chance."""
    rng = np.random.default_rng(0)
    images = hc.data.load("digits").images[:512]
    views = hc.data.mild(window=0.8)
    encoder = hc.nn.mlp(images.shape[1:], widths=(64,), dim=32, rng=rng)
    slow, queue = hc.nn.MomentumEncoder(encoder, 0.9), Queue(256, 32, rng=rng)
    optimizer = hc.optim.Adam(encoder.parameters(), 2e-3)
    seen = []
    for _ in range(60):
        view1, view2 = views.two_views(images[rng.permutation(512)[:64]], rng=rng)
        keys = slow(hc.tensor(view2))
        loss = queue_info_nce(encoder(hc.tensor(view1)), keys, queue, temperature=0.2)
        loss.backward()
        optimizer.step()
        slow.follow()
        queue.push(keys)
        seen.append(float(loss))
    assert np.mean(seen[-10:]) < 0.6 * np.log(257)
