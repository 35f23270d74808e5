"""Going on from a checkpoint: the bits of a training without a stop, or a line that says why not."""

import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
from killed_training import STEPS, train, weights

import hypercon as hc
import hypercon.testing.strict
from hypercon.errors import CheckpointError, DtypeError, InputError, StorageError, TrainingError
from hypercon.training import keeping, newest_checkpoint, read_checkpoint, stopping
from hypercon.training import state as training_state
from hypercon.training.state import Training


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


class StoppedError(Exception):
    """What a test stops a training with."""


def stop_after(step):
    """An augmentation that stops the training in the step after this one."""

    class Stopping(hc.data.Augmentation):
        def two_views(self, images, *, rng):
            object.__setattr__(self, "made", getattr(self, "made", 0) + 1)
            if self.made > step:
                raise StoppedError
            return super().two_views(images, rng=rng)

    views = hc.data.mild()
    Stopping.__name__ = "Augmentation"
    return Stopping(**vars(views))


def run_until(step, folder, **settings):
    with pytest.raises(StoppedError):
        train(folder, augment=stop_after(step), checkpoint_every=0, **settings)


def same_bits(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in one.keys() | other.keys())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- the same bits


@pytest.mark.parametrize("step", [1, 5, 6, 7, 17])
def test_going_on_from_any_step_gives_the_bits_of_a_training_without_a_stop(step, folder):
    run_until(step, folder)
    assert newest_checkpoint(folder).step == step
    encoder, temperature, history = train(folder)
    whole, tau, expected = train()
    assert same_bits(weights(encoder, temperature), weights(whole, tau))
    assert history.losses == expected.losses
    assert history.rates == expected.rates
    told = [{key: value for key, value in record.items() if key != "seconds"} for record in history.epochs]
    assert told == [{key: value for key, value in record.items() if key != "seconds"} for record in expected.epochs]


def _steps_alone(self, state):
    self.steps = int(state["steps"])


FORGOTTEN = {
    "weights": (hc.nn.Module, "load_state", lambda self, state: None),
    "averages": (hc.optim.Optimizer, "load_state", _steps_alone),
    "the optimiser's steps": (hc.optim.Optimizer, "rate_at", lambda self, step: 2e-3),
    "parameters beside the encoder's": (
        Training,
        "_load",
        lambda self, parts: self.encoder.load_state(parts["encoder"]),
    ),
    "the generator": (training_state, "_state_of", lambda rng, told: rng.bit_generator.state),
    "the order of the epoch": (
        Training,
        "batches",
        lambda self, count, size: hc.data.batches(count, size, rng=self.rng),
    ),
}


@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_part_that_is_not_taken_up_is_noticed_by_these_tests(part, folder, monkeypatch):
    run_until(8, folder)
    monkeypatch.setattr(*FORGOTTEN[part])
    monkeypatch.setattr(Training, "_refuse_another", lambda *arguments: None)
    went_on = train(folder)
    monkeypatch.undo()
    assert not same_bits(weights(*went_on[:2]), weights(*train()[:2]))


def test_checkpoints_change_nothing_of_a_training(folder):
    kept, plain = train(folder), train()
    assert same_bits(weights(*kept[:2]), weights(*plain[:2]))


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_generator_of_numpys_is_taken_up(bits, folder):
    def settings():
        return {"rng": np.random.Generator(bits(3)), "epochs": 2}

    run_until(8, folder, **settings())
    went_on, whole = train(folder, **settings()), train(**settings())
    assert same_bits(weights(*went_on[:2]), weights(*whole[:2]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: hc.CosineTemperature(0.1, 0.5, period=9),
        lambda: hc.LearnedTemperature(0.3),
        lambda: Halving(),
    ],
    ids=["cosine", "learned but not trained", "one's own"],
)
def test_a_temperature_goes_on_from_where_it_was(make, folder):
    def settings():
        rng = np.random.default_rng(5)
        encoder = hc.nn.mlp((1, 8, 8), widths=(8,), dim=4, rng=rng)
        return {
            "encoder": encoder,
            "images": hc.data.load("digits").images[:96],
            "loss": "info_nce",
            "temperature": make(),
            "optimizer": hc.optim.SGD(encoder.parameters(), 0.05, momentum=0.9),
            "epochs": 3,
            "batch_size": 32,
            "augment": hc.data.mild(),
            "rng": rng,
        }

    stopped, going_on, whole = settings(), settings(), settings()
    with pytest.raises(StoppedError):
        hc.fit(**stopped | {"augment": stop_after(4)}, checkpoint=folder, checkpoint_every=0)
    hc.fit(**going_on, checkpoint=folder, resume=True)
    hc.fit(**whole)
    assert same_bits(going_on["encoder"].state(), whole["encoder"].state())
    assert going_on["temperature"].value == whole["temperature"].value


class Halving(hc.Temperature):
    """Half as much after every step."""

    def __init__(self):
        self.now = 2.0

    def step(self):
        self.now /= 2**0.25

    def __call__(self):
        return self.now


def test_a_loss_with_a_queue_of_its_own_goes_on_from_where_it_was(folder):
    class Queued:
        """InfoNCE against what earlier batches left."""

        def __init__(self):
            self.queue = hc.losses.Queue(64, 8, rng=np.random.default_rng(1))

        def __call__(self, z1, z2):
            value = hc.losses.queue_info_nce(z1, z2.data, self.queue, temperature=0.2)
            self.queue.push(z2.data)
            return value

        def state(self):
            return self.queue.state()

        def load_state(self, state):
            self.queue.load_state(state)

    def run(folder=None, **more):
        rng = np.random.default_rng(0)
        images = hc.data.load("digits").images[:128]
        encoder = hc.nn.mlp(images.shape[1:], widths=(16,), dim=8, rng=rng)
        arguments = {"loss": Queued(), "augment": hc.data.mild(), "checkpoint": folder, "checkpoint_every": 0} | more
        optimizer = hc.optim.Adam(encoder.parameters(), 1e-3)
        hc.fit(encoder, images, optimizer=optimizer, epochs=3, batch_size=32, rng=rng, **arguments)
        return encoder.state(), arguments["loss"].state()

    with pytest.raises(StoppedError):
        run(folder, augment=stop_after(7))
    went_on, whole = run(folder, resume=True), run()
    assert same_bits(went_on[0], whole[0])
    assert same_bits(went_on[1], whole[1])


def test_parameters_of_the_loss_that_the_optimiser_holds_go_on_too(folder):
    def run(checkpoint=None, **more):
        rng = np.random.default_rng(0)
        images = hc.data.load("digits").images[:128]
        encoder = hc.nn.mlp(images.shape[1:], widths=(16,), dim=8, rng=rng)
        scale = hc.tensor(np.float32(0.3), requires_grad=True)
        hc.fit(
            encoder,
            images,
            **{
                "loss": partial(hc.info_nce, temperature=scale),
                "optimizer": hc.optim.Adam([*encoder.parameters(), scale], 1e-2),
                "epochs": 2,
                "batch_size": 32,
                "augment": hc.data.mild(),
                "rng": rng,
                "checkpoint": checkpoint,
                "checkpoint_every": 0,
            }
            | more,
        )
        return encoder.state() | {"scale": scale.data}

    with pytest.raises(StoppedError):
        run(folder, augment=stop_after(5))
    assert same_bits(run(folder, resume=True), run())


def test_what_an_interrupted_process_still_holds_may_go_on_as_it_is(folder):
    rng = np.random.default_rng(0)
    images = hc.data.load("digits").images[:128]
    encoder = hc.nn.mlp(images.shape[1:], widths=(16,), dim=8, rng=rng)
    optimizer = hc.optim.Adam(encoder.parameters(), 1e-2)
    again = partial(
        hc.fit,
        encoder,
        images,
        loss="info_nce",
        temperature=0.2,
        optimizer=optimizer,
        batch_size=32,
        augment=hc.data.mild(),
        rng=rng,
        checkpoint=folder,
    )
    assert again(epochs=1).steps == 4
    assert again(epochs=3, resume=True).steps == 12


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"seed": 1}, "the encoder's first weights, rng's state"),
        ({"rng": np.random.default_rng(9)}, "rng's state"),
    ],
)
def test_other_draws_are_replaced_by_those_of_the_first_start_with_a_warning(settings, parts, folder):
    run_until(8, folder)
    with pytest.warns(UserWarning, match=rf"000000008.npz began with other values .* \({parts}\): its own go on"):
        went_on = train(folder, **settings)
    assert same_bits(weights(*went_on[:2]), weights(*train()[:2]))


def test_more_epochs_may_be_asked_for_and_fewer_are_refused(folder):
    train(folder, epochs=2)
    encoder, temperature, history = train(folder)
    whole, tau, _ = train()
    assert history.steps == STEPS
    assert same_bits(weights(encoder, temperature), weights(whole, tau))
    with pytest.raises(CheckpointError, match="is of step 18, and these epochs have 6: ask for more"):
        train(folder, epochs=1)


def test_a_finished_training_is_taken_up_without_a_step(folder):
    finished = train(folder)
    again = train(folder, augment=stop_after(0))
    assert same_bits(weights(*finished[:2]), weights(*again[:2]))
    assert again[2].losses == finished[2].losses
    assert not again[0].training


def test_the_work_may_be_on_a_device(folder):
    def run(device, folder=None, **more):
        rng = np.random.default_rng(0)
        images = hc.data.load("digits").images[:96]
        encoder = hc.nn.mlp(images.shape[1:], widths=(8,), dim=4, rng=rng).to(device)
        optimizer = hc.optim.Adam(encoder.parameters(), 1e-3)
        arguments = {"augment": hc.data.mild(), "checkpoint": folder, "checkpoint_every": 0} | more
        hc.fit(encoder, images, loss="info_nce", temperature=0.2, optimizer=optimizer, epochs=2, batch_size=32, rng=rng,
               **arguments)  # fmt: skip
        return encoder.state()

    with pytest.raises(StoppedError):
        run("strict", folder, augment=stop_after(3))
    assert same_bits(run("strict", folder, resume=True), run("strict"))


# --- what is kept


def test_the_last_two_are_kept_and_nothing_else(folder):
    train(folder, checkpoint_every=0)
    assert names(folder) == [f"checkpoint-{step:09d}.npz" for step in (STEPS - 1, STEPS)]


def test_between_two_checkpoints_go_as_many_seconds_as_were_asked_for(folder):
    train(folder, checkpoint_every=3600)
    assert names(folder) == [f"checkpoint-{STEPS:09d}.npz"]


def test_a_checkpoint_holds_plain_arrays_and_tells_what_it_is_of(folder):
    train(folder)
    found = newest_checkpoint(folder)
    assert found.settings["loss"] == "nt_xent"
    assert found.settings["temperature"] == {"kind": "LearnedTemperature", "lowest": 0.01, "highest": 100.0}
    assert found.settings["optimizer"]["betas"] == [0.9, 0.999]
    assert found.versions["numpy"] == np.__version__
    assert len(found.history.epochs) == 3
    with np.load(sorted(folder.glob("*.npz"))[-1], allow_pickle=False) as archive:
        assert {value.dtype.kind for value in dict(archive).values()} <= set("fiU")
        assert json.loads(str(archive["header"]))["schema"] == 1


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_taken_up(folder):
    run_until(9, folder)
    newest = folder / "checkpoint-000000009.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"000000009.npz: not an .npz file.* going on from checkpoint-000000008.npz"):
        went_on = train(folder)
    assert same_bits(weights(*went_on[:2]), weights(*train()[:2]))
    assert "checkpoint-000000009.npz.damaged" in names(folder)


def test_a_folder_of_damaged_checkpoints_is_said_to_be_one(folder):
    run_until(9, folder)
    for path in folder.glob("*.npz"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read, of 2; of the newest: .*000000009.npz"):
        train(folder)
    assert len(names(folder)) == 2


def test_what_a_kill_inside_a_write_leaves_is_cleared_away(folder):
    run_until(3, folder)
    (folder / ".checkpoint-000000004.npz.abc.part").write_bytes(b"half of")
    train(folder)
    assert not list(folder.glob(".*"))


# --- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "info_nce"}, "loss nt_xent there, info_nce now"),
        ({"batch_size": 40}, "batch_size 32 there, 40 now"),
        ({"augment": hc.data.mild(window=0.5)}, r"augment scale \[0.9, 1.0\] there, \[0.5, 1.0\] now"),
    ],
)
def test_other_arguments_are_refused_by_name_and_nothing_is_touched(settings, message, folder):
    run_until(4, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match=rf"000000004.npz is of a training with other arguments .*{message}"):
        train(folder, **settings)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def other(**changes):
    """A training like that of `train`, but for what is changed."""

    def run(folder):
        rng = np.random.default_rng(0)
        settings = {
            "images": hc.data.load("digits").images[:200],
            "make": partial(hc.nn.mlp, widths=(24, 16), dim=8),
            "optimizer": partial(hc.optim.Adam, rate=hc.optim.cosine(2e-3, STEPS)),
            "temperature": hc.LearnedTemperature(0.2),
        } | changes
        temperature, images = settings["temperature"], settings["images"]
        encoder = settings["make"](images.shape[1:], rng=rng)
        held = temperature.parameters() if isinstance(temperature, hc.LearnedTemperature) else []
        hc.fit(
            encoder,
            images,
            loss="nt_xent",
            temperature=temperature,
            optimizer=settings["optimizer"]([*encoder.parameters(), *held]),
            epochs=3,
            batch_size=32,
            augment=hc.data.mild(),
            rng=rng,
            checkpoint=folder,
            resume=True,
        )

    return run


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (other(temperature=0.2), r"temperature LearnedTemperature there, 0.2 now"),
        (other(temperature=hc.LearnedTemperature(0.2, lowest=0.05)), "temperature lowest 0.01 there, 0.05 now"),
        (other(temperature=hc.LearnedTemperature(0.3)), r"\(the temperature's start is another; the start of the"),
        (other(optimizer=partial(hc.optim.SGD, rate=0.1)), "optimizer Adam there, SGD now"),
        (other(optimizer=partial(hc.optim.Adam, rate=1e-3)), r"\(rate 0.002 at step 0 there, 0.001 now\)"),
        (other(optimizer=partial(hc.optim.Adam, rate=2e-3)), "rate 0.00198481 at step 1 there, 0.002 now"),
        (other(make=partial(hc.nn.mlp, widths=(24,), dim=8)), r"encoder widths \[24, 16\] there, \[24\] now"),
        (other(make=lambda shape, rng: Own(rng)), "encoder mlp there, Own now"),
        (other(images=hc.data.load("digits").images[:201]), r"images shape \[200, .*there, .*the images have changed"),
    ],
)
def test_a_training_of_something_else_is_refused_by_name(run, message, folder):
    run_until(4, folder)
    with pytest.raises(CheckpointError, match=message):
        run(folder)


class Own(hc.nn.Module):
    """An encoder without a recipe."""

    def __init__(self, rng):
        self.only = hc.nn.Linear(64, 8, rng=rng)

    def __call__(self, x):
        return self.only(hc.reshape(x, (len(x), -1)))


def test_an_encoder_of_ones_own_of_another_shape_is_refused_and_left_as_it_was(folder):
    def run(width):
        rng = np.random.default_rng(0)
        encoder = Own(rng)
        encoder.only = hc.nn.Linear(64, width, rng=rng)
        before = encoder.state()
        settings = {"epochs": 1, "batch_size": 32, "augment": hc.data.mild(), "rng": rng}
        try:
            hc.fit(encoder, hc.data.load("digits").images[:64], loss="info_nce", temperature=0.2, resume=True,
                   optimizer=hc.optim.SGD(encoder.parameters(), 0.1), checkpoint=folder, **settings)  # fmt: skip
        finally:
            assert width == 8 or same_bits(before, encoder.state())

    run(8)
    with pytest.raises(CheckpointError, match=r"does not fit this training .load_state: 'only.weight' has"):
        run(9)


def test_a_recipe_of_ones_own_may_hold_what_json_knows_otherwise(folder):
    def run():
        rng = np.random.default_rng(0)
        made = hc.nn.mlp((1, 8, 8), widths=(8,), dim=4, rng=rng)
        encoder = hc.nn.Encoder(made.backbone, made.head, {"name": "own", "sizes": (8, 4), 3: np.float32(0.5)})
        return hc.fit(
            encoder,
            hc.data.load("digits").images[:64],
            loss=partial(hc.info_nce, temperature=np.float32(0.2), symmetric=True),
            optimizer=hc.optim.SGD(encoder.parameters(), 0.1),
            epochs=1,
            batch_size=32,
            augment=hc.data.mild(),
            rng=rng,
            checkpoint=folder,
            resume=True,
        )

    assert run().losses == run().losses


def test_a_folder_with_a_training_is_not_written_over_unasked(folder):
    run_until(4, folder)
    before = names(folder)
    with pytest.raises(InputError, match=r"which holds a training \(checkpoint-000000004.npz\): go on from there with"):
        train(folder, resume=False)
    assert names(folder) == before


def test_a_future_schema_is_refused_and_does_not_fall_back(folder):
    run_until(4, folder)
    newest = folder / "checkpoint-000000004.npz"
    with np.load(newest, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["header"] = np.array(str(arrays["header"]).replace('"schema": 1', '"schema": 2'))
    np.savez(newest, **arrays)
    with pytest.raises(CheckpointError, match=r"schema 2, expected 1: written by another version of hypercon"):
        train(folder)


def test_another_version_of_numpy_is_told_of_and_gone_on_with(folder, monkeypatch):
    run_until(4, folder)
    monkeypatch.setattr(np, "__version__", "9.9")
    with pytest.warns(UserWarning, match=r"was written elsewhere \(numpy .* there, 9.9 now\): the last bits may come"):
        train(folder)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"checkpoint": None, "resume": True}, InputError, "resume needs the folder"),
        ({"checkpoint": 3}, DtypeError, "checkpoint got 3, expected the name of a folder"),
        ({"checkpoint": ""}, DtypeError, "checkpoint got '', expected"),
        ({"resume": 1}, DtypeError, "resume got int, expected True or False"),
        ({"checkpoint_every": -1}, InputError, "checkpoint_every got -1, expected seconds from 0 on"),
        ({"checkpoint_every": "1"}, DtypeError, "checkpoint_every got '1', expected a number"),
        ({"checkpoint_every": float("nan")}, InputError, "checkpoint_every got nan"),
        ({"on_epoch": 3}, DtypeError, "on_epoch got int, expected a function"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(settings, error, message, folder):
    with pytest.raises(error, match=message):
        train(**{"checkpoint": folder} | settings)
    assert not folder.exists()


def test_a_folder_that_is_a_file_is_named(folder):
    folder.write_text("in the way")
    with pytest.raises(InputError, match=r"checkpoint got .*checkpoints', which is no folder"):
        train(folder)


# --- one at a time


def test_a_folder_that_another_process_trains_in_is_refused(folder):
    folder.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from hypercon.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=rf"checkpoint got .* which process {holder.pid} on .* is working in: wait"):
        train(folder)
    holder.kill()
    holder.communicate()
    assert names(folder) == [".lock"]  # of a dead process, which locks nobody out
    train(folder, epochs=1)
    assert ".lock" not in names(folder)


def test_two_threads_cannot_train_in_one_folder(folder):
    caught = []

    def look(history):
        def second():
            try:
                train(folder)
            except InputError as error:
                caught.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    train(folder, epochs=1, on_epoch=look)
    assert f"process {os.getpid()} on" in caught[0]


def test_the_file_of_a_lock_may_hold_anything(folder):
    folder.mkdir()
    for content in (b"", b"\xff\x00", b"[1]", b'{"process": "x"}'):
        (folder / ".lock").write_bytes(content)
        train(folder, epochs=1)


# --- an interrupt


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_an_interrupt_is_kept_until_the_step_is_made_and_the_training_goes_on_from_there(folder):
    class Interrupting(hc.data.Augmentation):
        def two_views(self, images, *, rng):
            object.__setattr__(self, "made", getattr(self, "made", 0) + 1)
            if self.made == 8:
                signal.raise_signal(signal.SIGINT)
            return super().two_views(images, rng=rng)

    Interrupting.__name__ = "Augmentation"
    views = Interrupting(**vars(hc.data.mild()))
    with pytest.raises(KeyboardInterrupt):
        train(folder, checkpoint_every=3600, augment=views)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert names(folder) == ["checkpoint-000000008.npz"]
    went_on = train(folder)
    assert same_bits(weights(*went_on[:2]), weights(*train()[:2]))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_second_interrupt_at_once_loses_nothing_and_a_late_one_comes_through(folder, monkeypatch):
    written = keeping.write_checkpoint

    def interrupted(path, checkpoint):
        signal.raise_signal(signal.SIGINT)
        written(path, checkpoint)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(keeping, "write_checkpoint", interrupted)
    monkeypatch.setattr(stopping, "PATIENCE", 60.0)
    with pytest.raises(KeyboardInterrupt):
        train(folder, checkpoint_every=0)
    assert names(folder) == ["checkpoint-000000001.npz", "checkpoint-000000002.npz"]
    monkeypatch.setattr(stopping, "PATIENCE", 0.0)
    with stopping.after_the_step() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- nothing lost


def test_a_disk_that_is_full_leaves_the_checkpoints_before(folder, monkeypatch):
    run_until(4, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    written = np.lib.format.write_array

    def full(stream, array, **options):
        if array.size > 200:
            raise OSError(28, "No space left on device")
        written(stream, array, **options)

    monkeypatch.setattr(np.lib.format, "write_array", full)
    message = r"000000005.npz cannot be written \(No space left on device\), and what stood there is unharmed: make"
    with pytest.raises(StorageError, match=message):
        train(folder, checkpoint_every=0)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert same_bits(weights(*train(folder)[:2]), weights(*train()[:2]))


def train_at_the_shell(folder, *arguments, **options):
    command = [sys.executable, "-m", "hypercon", "train", "--out", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


SMALL = ["--data", "digits", "--temperature", "0.2", "--widths", "64", "--epochs", "2", "--checkpoint-every", "0"]


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_a_file_that_the_system_refuses_to_write_is_one_line_at_the_shell_and_the_run_goes_on_later(tmp_path):
    import resource

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    refused = train_at_the_shell(tmp_path / "run", *SMALL, preexec_fn=small_files)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("hypercon train: ")
    assert "cannot be written (File too large), and what stood there is unharmed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert names(tmp_path / "run" / "checkpoints") == []
    assert train_at_the_shell(tmp_path / "run", "--resume").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can make a small disk")
def test_a_small_disk_that_fills_up_keeps_the_checkpoints_before(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk may be mounted here")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(150_000))  # room for two checkpoints, and not for a third beside them
        refused = train_at_the_shell(disk / "run", *SMALL)
        assert refused.returncode == 2, refused.stderr
        assert "cannot be written (No space left on device), and what stood there is unharmed" in refused.stderr
        kept = [path for path in (disk / "run" / "checkpoints").iterdir() if path.suffix == ".npz"]
        assert kept
        for path in kept:
            read_checkpoint(path)
        filler.unlink()
        assert train_at_the_shell(disk / "run", "--resume").returncode == 0
        assert train_at_the_shell(tmp_path / "whole", *SMALL).returncode == 0
        found, expected = (hc.nn.load_encoder(run / "encoder.npz")[0] for run in (disk / "run", tmp_path / "whole"))
        assert same_bits(found.state(), expected.state())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_weights_that_are_no_longer_finite_are_never_written(folder):
    def last_step_overflows(history):
        if history.epochs[-1]["epoch"] == 2:
            encoder.parameters()[0].data[0, 0] = np.inf

    rng = np.random.default_rng(0)
    images = hc.data.load("digits").images[:64]
    encoder = hc.nn.mlp(images.shape[1:], widths=(8,), dim=4, rng=rng)
    with pytest.raises(TrainingError, match="weight is no longer finite after step 4: use a smaller learning rate"):
        hc.fit(
            encoder,
            images,
            loss="info_nce",
            temperature=0.2,
            optimizer=hc.optim.SGD(encoder.parameters(), 0.1),
            epochs=3,
            batch_size=32,
            augment=hc.data.mild(),
            rng=rng,
            checkpoint=folder,
            checkpoint_every=0,
            on_epoch=last_step_overflows,
        )
    assert names(folder) == ["checkpoint-000000002.npz", "checkpoint-000000003.npz"]


# --- every epoch


def test_what_is_measured_after_an_epoch_stands_in_its_record_and_in_the_checkpoint(folder):
    def measure(history):
        return {"seen": history.steps}

    _, _, history = train(folder, on_epoch=measure)
    assert [record["seen"] for record in history.epochs] == [6, 12, 18]
    assert [record["epoch"] for record in history.epochs] == [1, 2, 3]
    assert history.epochs[1]["loss"] == pytest.approx(np.mean(history.losses[6:12]))
    assert newest_checkpoint(folder).history.epochs == history.epochs


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        ([1], DtypeError, "on_epoch gave list, expected a dictionary"),
        ({"loss": 0.0}, InputError, "on_epoch gave 'loss', which every record has already"),
    ],
)
def test_what_is_no_measurement_is_refused(found, error, message, folder):
    with pytest.raises(error, match=message):
        train(folder, on_epoch=lambda history: found)


def test_what_json_cannot_hold_is_refused_when_it_is_kept(folder):
    with pytest.raises(DtypeError, match="on_epoch gave what JSON cannot hold"):
        train(folder, on_epoch=lambda history: {"z": np.zeros(3)})


def test_a_checkpoint_that_is_not_there_is_named(folder):
    folder.mkdir()
    with pytest.raises(CheckpointError, match="checkpoints: no checkpoint there"):
        newest_checkpoint(folder)
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(folder / "checkpoint-000000001.npz")
    with pytest.raises(DtypeError, match="folder got int"):
        newest_checkpoint(3)
