"""Training over ranks and in chunks: the weights of one process, alike on all ranks."""

from functools import partial

import numpy as np
import pytest

import hypercon as hc
from hypercon.distributed import run_in_threads
from hypercon.errors import DtypeError, InputError, TrainingError

IMAGES = hc.data.load("digits").images[:60]


def trained(ranks=None, seed=0, images=IMAGES, batch_size=20, make=None, **settings):
    """An encoder after three steps and its history; rows do not divide by three, and the temperature learns too."""
    rng = np.random.default_rng(seed)
    encoder = hc.nn.mlp(images.shape[1:], widths=(16,), dim=8, rng=rng) if make is None else make(rng)
    temperature = hc.LearnedTemperature(0.3)
    settings = {"loss": "info_nce", "temperature": temperature} | settings
    learned = settings["temperature"] is temperature
    parameters = encoder.parameters() + (temperature.parameters() if learned else [])
    history = hc.fit(
        encoder,
        images,
        optimizer=hc.optim.SGD(parameters, 0.1, momentum=0.9),
        epochs=1,
        batch_size=batch_size,
        augment=hc.data.mild(),
        rng=rng,
        ranks=ranks,
        **settings,
    )
    return encoder.state() | {"temperature": np.array(temperature.value)}, history.losses


def of_rows(rng):
    """An encoder without batch statistics."""
    return hc.nn.Sequential(hc.nn.Flatten(), hc.nn.Linear(64, 8, rng=rng), hc.nn.Normalize())


@pytest.mark.parametrize("loss", ["info_nce", "nt_xent"])
def test_the_weights_are_those_of_one_process_and_the_same_bits_on_all_ranks(loss):
    state, losses = trained(loss=loss)
    of_ranks = run_in_threads(3, lambda ranks: trained(ranks, loss=loss))
    for theirs, their_losses in of_ranks:
        assert their_losses == of_ranks[0][1]
        assert their_losses == pytest.approx(losses, abs=1e-5)
        for path, array in state.items():
            np.testing.assert_array_equal(theirs[path], of_ranks[0][0][path])
            np.testing.assert_allclose(theirs[path], array, atol=1e-4)


def test_in_chunks_the_weights_are_those_of_the_whole_batch():
    state, losses = trained(make=of_rows)
    in_chunks, losses_in_chunks = trained(make=of_rows, chunk_size=7)
    assert losses_in_chunks == pytest.approx(losses, abs=1e-5)
    for path, array in state.items():
        np.testing.assert_allclose(in_chunks[path], array, atol=1e-5)


def test_chunks_and_ranks_together():
    state, _ = trained(make=of_rows)
    for theirs, _ in run_in_threads(2, lambda ranks: trained(ranks, make=of_rows, chunk_size=4)):
        for path, array in state.items():
            np.testing.assert_allclose(theirs[path], array, atol=1e-5)


ENCODERS = {
    "mlp": lambda rng: hc.nn.mlp((1, 8, 8), widths=(16,), dim=8, rng=rng),
    "cnn": lambda rng: hc.nn.cnn((1, 8, 8), widths=(4, 6), strides=(1, 2), dim=8, rng=rng),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_device_that_refuses_what_a_gpu_could_not_do_trains_the_same(kind):
    def on(device):
        def make(rng):
            return ENCODERS[kind](rng).to(device)

        return run_in_threads(2, lambda ranks: trained(ranks, make=make, loss="nt_xent", temperature=0.3))

    # bit for bit, but that batch normalisation of images goes in strips on the CPU and rounds in another order
    near = {"rtol": 0, "atol": 0} if kind == "mlp" else {"rtol": 1e-3, "atol": 1e-4}
    for (state, losses), (expected, expected_losses) in zip(on("strict"), on("cpu"), strict=True):
        np.testing.assert_allclose(losses, expected_losses, **near)
        for path in expected:
            np.testing.assert_allclose(state[path], expected[path], **near)


def test_a_loss_of_ones_own_over_ranks():
    def on_a_rank(ranks):
        own = partial(hc.distributed.info_nce, temperature=0.3, ranks=ranks, way="ring")
        return trained(ranks, make=of_rows, loss=own, temperature=None)[1]

    assert run_in_threads(2, on_a_rank)[1] == pytest.approx(trained(make=of_rows, temperature=0.3)[1], abs=1e-5)


def test_layers_are_ordinary_again_after_training():
    def on_a_rank(ranks):
        encoder = hc.nn.mlp((1, 8, 8), widths=(8,), dim=4, rng=np.random.default_rng(0))
        trained(ranks, make=lambda rng: encoder)
        kinds = {type(module) for _, module in encoder.modules()}
        assert hc.nn.BatchNorm in kinds
        assert not any(module.training for _, module in encoder.modules())
        return {kind.__name__ for kind in kinds}

    assert "SyncedBatchNorm" not in run_in_threads(2, on_a_rank)[0]


def test_only_rank_0_shows_a_bar(capsys):
    run_in_threads(2, lambda ranks: trained(ranks, progress=f"of rank {ranks.rank}"))
    shown = capsys.readouterr().err
    assert "of rank 0" in shown
    assert "of rank 1" not in shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "the encoder's weights differ between rank 0 and rank 1"),
        ({"images": IMAGES[::-1]}, "the images differ between rank 0 and rank 1"),
        ({"make": lambda rng: of_rows(np.random.default_rng(0))}, "the generators' states differ"),
    ],
)
def test_ranks_that_would_train_different_encoders_are_refused(settings, message):
    alike = {"make": of_rows}
    with pytest.raises(TrainingError, match=message):
        run_in_threads(2, lambda ranks: trained(ranks, **(alike | (settings if ranks.rank else {}))))


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="a batch of 2 cannot be shared by 3 ranks"):
        run_in_threads(3, lambda ranks: trained(ranks, batch_size=2))
    with pytest.raises(InputError, match="chunk_size got 4 with 2 ranks, whose batch normalisation needs all rows"):
        run_in_threads(2, lambda ranks: trained(ranks, chunk_size=4))
    with pytest.raises(DtypeError, match="ranks got int, expected"):
        trained(3)
