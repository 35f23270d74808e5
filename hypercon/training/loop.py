"""The training loop: two views of a batch, a loss, a step, and a history of what happened."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hypercon import losses, memory
from hypercon.autograd import tensor
from hypercon.backend import read, xp
from hypercon.data.batching import check_batch_size
from hypercon.distributed import (
    Ranks,
    check_can_share,
    check_ranks,
    share,
    sum_gradients,
    synchronised,
    together,
)
from hypercon.errors import DtypeError, InputError, TrainingError
from hypercon.gradient_cache import backward_in_chunks, check_scalar_loss
from hypercon.nn import Module
from hypercon.optim import Optimizer
from hypercon.temperature import Temperature
from hypercon.threads import one_blas_thread
from hypercon.training.checking import check_all_take_part, check_folder, check_training, objective_of
from hypercon.training.describing import settings_of
from hypercon.training.history import History
from hypercon.training.keeping import Keeper, check_seconds, checkpoints_in
from hypercon.training.state import Training
from hypercon.training.stopping import Stop, after_the_step
from hypercon.validation import check_generator, check_whole


class TwoViews(Protocol):
    """What `fit` asks of an augmentation."""

    def two_views(self, images: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]: ...


def fit(
    encoder: Module,
    images: np.ndarray,
    *,
    loss: str | Callable[[Any, Any], Any],
    temperature: float | Temperature | None = None,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    augment: TwoViews,
    rng: np.random.Generator,
    progress: bool | str = False,
    ranks: Ranks | None = None,
    chunk_size: int | None = None,
    on_epoch: Callable[[History], dict[str, Any] | None] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: float = 60.0,
) -> History:
    """Train an encoder in place.

    Parameters
    ----------
    encoder : Encoder or Module
        Its device is where the work is done; batches are drawn and augmented on the host, so every device sees the
        same.
    images : ndarray, (N, C, H, W)
        float32 in [0, 1].
    loss : {"info_nce", "nt_xent"} or callable
        A callable takes the embeddings of two views and returns a scalar tensor. Over ranks it takes this rank's, and
        returns the loss of all, as those of `hypercon.distributed` do.
    temperature : float or Temperature
        For a loss given by name; a callable carries its own. One that changes goes on with every step. A
        `LearnedTemperature` is trained if the optimiser has its parameters as well.
    optimizer : Optimizer
        Over the encoder's parameters; what is to stay as it is has ``requires_grad = False``. It may hold parameters
        of the loss beside them.
    epochs : int
        Passes over the images; a last batch that is not full is left out.
    batch_size : int
    augment : object
        Makes two views of a batch: ``augment.two_views(images, rng=rng)``.
    rng : numpy.random.Generator
        Of the order and the views. The same generator and the same encoder give the same weights, bit for bit.
    progress : bool or str, default False
        Show a bar, with this text before it. With a named loss it shows where the loss lies between floor and chance.
        Over ranks, rank 0 alone shows one.
    ranks : Ranks, optional
        Those that ``mpiexec`` has started, as `hypercon.distributed.ranks_of_this_job` gives them. All call this with
        equal arguments; each embeds its share of every batch, and the loss is that of the whole batch. The weights are
        those that one process finds, up to rounding, and the same on all ranks. An error on any ends the job.
    chunk_size : int, optional
        Rows of each view that go through the encoder at a time, where activations of the batch do not fit; see
        `hypercon.backward_in_chunks`, also on what becomes of batch normalisation.
    on_epoch : callable, optional
        Called with the history after every epoch; what it returns, a dictionary of what JSON can hold, is added to the
        epoch's record in ``history.epochs``. It may look at the encoder, for example by ``encoder.embed(images)``.
        Over ranks, rank 0 alone calls it.
    checkpoint : path-like, optional
        A folder for checkpoints: one whenever ``checkpoint_every`` seconds have gone by, one at the end, and one after
        the step in which Ctrl-C or SIGTERM comes. Each is written whole or not at all; the last two are kept. One
        training at a time may have the folder. Over ranks, rank 0 writes them, and all must see the folder to resume.
    resume : bool, default False
        Go on from the newest checkpoint there, or start where there is none. Encoder, optimiser, temperature and
        generator are to be made as they were for the first start; what they hold is then replaced, with a warning if
        they were drawn otherwise. What comes out has the bits of a training without a stop. ``epochs`` may be more than
        before.
    checkpoint_every : float, default 60
        Seconds between checkpoints; 0 makes one after every step.

    Returns
    -------
    History

    Raises
    ------
    InputError, DtypeError
        An argument is not what it should be, or they do not fit each other; nothing is trained then.
    DeviceError
        The encoder was moved after its optimiser was made.
    TrainingError
        The embeddings or the loss are no longer finite, or the loss can no longer take the embeddings; the weights are
        those of the step before.
    CheckpointError
        The folder holds a training with other arguments, one of another version, or checkpoints that cannot be read.
    StorageError
        A checkpoint cannot be written, as on a full disk. Those before are unharmed.

    Examples
    --------
    >>> import hypercon as hc
    >>> images = hc.data.load("digits").images
    >>> rng = np.random.default_rng(0)
    >>> encoder = hc.nn.mlp(images.shape[1:], rng=rng)
    >>> history = hc.fit(
    ...     encoder, images, loss="info_nce", temperature=0.2, optimizer=hc.optim.Adam(encoder.parameters(), 1e-3),
    ...     epochs=1, batch_size=256, augment=hc.data.mild(flip=False), rng=rng,
    ... )
    >>> history.steps
    5
    """
    ranks = check_ranks(ranks)
    objective = objective_of(loss, temperature, ranks)
    images = check_training(encoder, images, optimizer, augment)
    epochs, rng = check_whole(epochs, "epochs", least=1), check_generator(rng)
    batch_size, seconds = check_batch_size(batch_size, len(images)), check_seconds(checkpoint_every)
    if chunk_size is not None:
        chunk_size = check_whole(chunk_size, "chunk_size", least=1)
    folder = check_folder(checkpoint, resume, on_epoch)
    history = History(batch_size=batch_size)
    training = Training(encoder, optimizer, temperature, loss, rng, history)
    steps = len(images) // batch_size  # of an epoch
    with ExitStack() as held:
        held.enter_context(together(ranks))
        keeper, stop = None, Stop()
        if folder is not None:
            keeper = Keeper(folder, seconds)
            if ranks.rank == 0:  # it alone writes
                held.enter_context(keeper)
            training.describe(settings_of(encoder, images, loss, temperature, optimizer, batch_size, augment))
            _take_up(training, keeper, resume, epochs * steps, ranks)
            stop = held.enter_context(after_the_step())
        bar = held.enter_context(_bar(epochs * steps, history.steps, progress if ranks.rank == 0 else False))
        held.enter_context(one_blas_thread())  # what gains from more is spread over the library's own
        held.enter_context(_memory_given_back())
        held.enter_context(synchronised(encoder, ranks))
        encoder.train()
        for parameter in optimizer.parameters:
            parameter.grad = None  # what an earlier backward() left is not of this training
        check_can_share(ranks, encoder, images, rng, batch_size, chunk_size)
        note = _bounds_note(loss, batch_size, temperature)
        mine = share(batch_size, ranks)
        while history.steps < epochs * steps:
            for chosen in training.batches(len(images), batch_size):
                start, rate = time.perf_counter(), optimizer.rate_at(optimizer.steps)
                # all ranks draw the whole batch's views, as one process would, and embed their own
                one, other = _two_views(augment, images[chosen], rng)
                value = _backward(encoder, (one[mine], other[mine]), objective, history.steps, chunk_size)
                if history.steps == 0:
                    check_all_take_part(encoder, optimizer)
                sum_gradients(optimizer.parameters, ranks)
                optimizer.step()
                history.losses.append(value)
                history.rates.append(rate)
                history.seconds += time.perf_counter() - start
                if isinstance(temperature, Temperature):
                    temperature.step()
                    note = _bounds_note(loss, batch_size, temperature)
                bar.update(1)
                speed = f"{history.images_per_second:,.0f} images/s"
                bar.set_postfix_str(f"loss {history.final_loss():.3f}{note}, {speed}", refresh=False)
                if history.steps % steps == 0:
                    _end_epoch(history, steps, temperature, on_epoch if ranks.rank == 0 else None)
                stopped = stop.asked is not None if ranks.size == 1 else ranks.any(stop.asked is not None)
                if keeper and ranks.rank == 0 and (keeper.due() or stopped or history.steps == epochs * steps):
                    keeper.save(training.checkpoint())
                if stopped:
                    stop.leave()
    encoder.eval()
    return history


def _take_up(training: Training, keeper: Keeper, resume: bool, steps: int, ranks: Ranks) -> None:
    """Go on from the newest checkpoint; refuse to lay new ones over those of a training that nobody asked to go on."""
    if not resume and (there := checkpoints_in(keeper.folder)):
        raise InputError(
            f"checkpoint got {str(keeper.folder)!r}, which holds a training ({there[-1].name}): go on from there with "
            f"resume=True, or choose another folder"
        )
    if ranks.rank > 0:
        ranks.any(False)  # rank 0 looks first, for it sets aside what is damaged
    found = keeper.newest()
    if ranks.rank == 0:
        ranks.any(False)
    if found:
        training.take_up(*found, steps)


def _end_epoch(
    history: History,
    steps: int,
    temperature: float | Temperature | None,
    on_epoch: Callable[[History], dict[str, Any] | None] | None,
) -> None:
    record: dict[str, Any] = {
        "epoch": history.steps // steps,
        "step": history.steps,
        "loss": float(np.mean(history.losses[-steps:])),
        "rate": history.rates[-1],
    }
    if temperature is not None:
        record["temperature"] = temperature.value if isinstance(temperature, Temperature) else float(temperature)
    history.epochs.append(record | {"seconds": history.seconds})
    found = on_epoch(history) if on_epoch else None
    if found is not None and not isinstance(found, dict):
        raise DtypeError(f"on_epoch gave {type(found).__name__}, expected a dictionary of what was measured, or None")
    if taken := (found or {}).keys() & history.epochs[-1].keys():
        raise InputError(f"on_epoch gave {sorted(taken)[0]!r}, which every record has already: choose another name")
    history.epochs[-1] |= found or {}


def _backward(
    encoder: Module,
    views: tuple[np.ndarray, np.ndarray],
    objective: Callable[[Any, Any], Any],
    number: int,
    chunk_size: int | None,
) -> float:
    """The loss of step ``number``, and every parameter's gradient."""
    try:
        if chunk_size is not None:
            value: Any = backward_in_chunks(encoder, views, loss=objective, chunk_size=chunk_size)
            _check_finite("the loss is", np.asarray(value), number)
            return float(value)
        # both views go through the encoder as one batch, so that batch normalisation sees them alike
        z = encoder(tensor(np.concatenate(views), device=encoder.device))
        _check_finite("the embeddings are", z.data, number)
        value = objective(z[: len(views[0])], z[len(views[0]) :])
    except InputError as error:
        if number == 0:
            raise
        raise TrainingError(  # it took those of the first step, so the shapes are right and the numbers are not
            f"the loss cannot take the embeddings of step {number}: use a smaller learning rate ({error})"
        ) from error
    value = check_scalar_loss(value)
    _check_finite("the loss is", value.data, number)
    value.backward()
    return float(value)


def _two_views(augment: TwoViews, images: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    views = augment.two_views(images, rng=rng)
    shapes = [getattr(view, "shape", ()) for view in views] if isinstance(views, tuple | list) else []
    if len(shapes) != 2 or shapes[0] != shapes[1] or shapes[0][:1] != (len(images),):
        raise InputError(
            f"augment gave no two views of {len(images)} images: two_views(images, rng=rng) must give a pair of "
            f"arrays of one shape, ({len(images)}, C, H, W)"
        )
    one, other = views
    return one, other


@contextmanager
def _memory_given_back() -> Iterator[None]:
    """What the layers keep from step to step is of no use after the last."""
    try:
        yield
    finally:
        memory.clear()


def _check_finite(what: str, array: Any, number: int) -> None:
    if not read(xp(array).isfinite(array).all()):
        raise TrainingError(f"{what} no longer finite at step {number}: use a smaller learning rate")


def _bounds_note(loss: Any, batch_size: int, temperature: float | Temperature | None) -> str:
    if not isinstance(loss, str) or temperature is None:
        return ""
    tau = temperature.value if isinstance(temperature, Temperature) else temperature
    note = f" (floor {losses.floor(loss, batch_size, tau):.3f}, chance {losses.chance(loss, batch_size):.3f})"
    return note + (f", temperature {tau:.3f}" if isinstance(temperature, Temperature) else "")


def _bar(total: int, made: int, progress: bool | str) -> Any:
    from tqdm import tqdm  # imported when training starts: it would slow the library's own import

    words = progress if isinstance(progress, str) else None
    seconds = 0.1 if sys.stderr.isatty() else 10  # a log of days is to be read too
    return tqdm(
        total=total,
        initial=made,
        desc=words,
        disable=not progress,
        unit="step",
        mininterval=seconds,
        maxinterval=seconds,
    )
