"""The training loop: two views of a batch, a loss, a step, and a history of what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from hypercon import distributed, losses, memory
from hypercon.autograd import tensor
from hypercon.backend import read, xp
from hypercon.data.batching import batches, check_batch_size
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
from hypercon.nn.encoders import check_images_for
from hypercon.optim import Optimizer
from hypercon.temperature import Temperature, check_temperature
from hypercon.threads import one_blas_thread
from hypercon.validation import check_generator, check_whole

# Up to so many numbers in the largest layer, BLAS works with one thread: a second one gains less on such products than
# it costs to wait for it wherever another program keeps a core busy. tests/benchmarks/blas_threads.py measures both.
SMALL_LAYER = 512 * 512


class TwoViews(Protocol):
    """What `fit` asks of an augmentation."""

    def two_views(self, images: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(repr=False)
class History:
    """What happened during training.

    Attributes
    ----------
    losses : list of float
        Of every step.
    batch_size : int
    seconds : float
        Of the loop, augmentation included.
    """

    losses: list[float] = field(default_factory=list)
    batch_size: int = 0
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.losses)

    @property
    def images_per_second(self) -> float:
        """Images (not views) that went through a step each second."""
        return self.steps * self.batch_size / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        if not self.losses:
            return "History(no steps)"
        return (
            f"History({self.steps} steps of {self.batch_size} images in {self.seconds:.1f} s, "
            f"loss {self.losses[0]:.3f} to {self.final_loss():.3f})"
        )

    def final_loss(self, steps: int = 20) -> float:
        """The mean loss of the last steps."""
        steps = check_whole(steps, "steps", least=1)
        if not self.losses:
            raise InputError("the history holds no steps, and so no loss")
        return float(np.mean(self.losses[-steps:]))


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
    objective = _objective(loss, temperature, ranks)
    images = _checked(encoder, images, optimizer, augment)
    epochs, rng = check_whole(epochs, "epochs", least=1), check_generator(rng)
    batch_size = check_batch_size(batch_size, len(images))
    if chunk_size is not None:
        chunk_size = check_whole(chunk_size, "chunk_size", least=1)
    history = History(batch_size=batch_size)
    total = epochs * (len(images) // batch_size)
    encoder.train()
    for parameter in optimizer.parameters:
        parameter.grad = None  # what an earlier backward() left is not of this training
    check_can_share(ranks, encoder, images, rng, batch_size, chunk_size)
    note = _bounds_note(loss, batch_size, temperature)
    shown = progress if ranks.rank == 0 else False
    with (
        _bar(total, shown) as bar,
        _threads_for(encoder),
        _memory_given_back(),
        synchronised(encoder, ranks),
        together(ranks),
    ):
        start = time.perf_counter()
        for _ in range(epochs):
            for chosen in batches(len(images), batch_size, rng=rng):
                # all ranks draw the whole batch's views, as one process would, and embed their own
                mine = share(batch_size, ranks)
                one, other = _two_views(augment, images[chosen], rng)
                views = one[mine], other[mine]
                value = _backward(encoder, views, objective, history.steps, chunk_size)
                if history.steps == 0:
                    _check_all_take_part(encoder, optimizer)
                sum_gradients(optimizer.parameters, ranks)
                optimizer.step()
                history.losses.append(value)
                history.seconds = time.perf_counter() - start
                bar.update(1)
                bar.set_postfix_str(f"loss {history.final_loss():.3f}{note}", refresh=False)
                if isinstance(temperature, Temperature):
                    temperature.step()
                    note = _bounds_note(loss, batch_size, temperature)
    encoder.eval()
    return history


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


# --- before the first step


def _checked(encoder: Any, images: Any, optimizer: Any, augment: Any) -> np.ndarray:
    """The images, once it is sure that encoder, optimiser and augmentation can do something with them."""
    if not isinstance(encoder, Module):
        raise DtypeError(f"encoder got {type(encoder).__name__}, expected one such as hypercon.nn.mlp(...)")
    if not callable(getattr(augment, "two_views", None)) or isinstance(augment, type):
        raise DtypeError(
            f"augment got {_called(augment)}, expected an object with two_views(images, rng=rng), such as "
            f"hypercon.data.mild(), or hypercon.data.Augmentation() for views that are the image itself"
        )
    if not isinstance(optimizer, Optimizer):
        raise DtypeError(
            f"optimizer got {_called(optimizer)}, expected one such as hypercon.optim.Adam(encoder.parameters(), 1e-3)"
        )
    held = {id(parameter) for parameter in optimizer.parameters}
    trained = [(path, parameter) for path, parameter in encoder.named_parameters() if parameter.requires_grad]
    missing = [path for path, parameter in trained if id(parameter) not in held]
    if len(missing) == len(trained):
        raise InputError(
            "optimizer holds none of the encoder's parameters, so it would train another: "
            "make it from this encoder's, encoder.parameters()"
        )
    if missing:
        raise InputError(
            f"optimizer lacks {len(missing)} of the encoder's {len(trained)} parameters, {missing[0]} first: make it "
            f"from encoder.parameters(), and set requires_grad = False on those that are to stay as they are"
        )
    optimizer.check_devices()
    return check_images_for(encoder, images)


def _check_all_take_part(encoder: Module, optimizer: Optimizer) -> None:
    """Refuse an optimiser that also holds what this training does not reach, such as another encoder's parameters."""
    own = {id(parameter) for parameter in encoder.parameters()}
    idle = [p for p in optimizer.parameters if p.requires_grad and p.grad is None and id(p) not in own]
    if idle:
        raise InputError(
            f"optimizer holds {len(idle)} parameter(s) that are not the encoder's and that the loss does not depend "
            f"on, the first of shape {idle[0].shape}: make it from this encoder's parameters"
        )


def _called(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _threads_for(encoder: Module) -> AbstractContextManager[None]:
    largest = max(int(np.prod(parameter.shape)) for parameter in encoder.parameters())
    return one_blas_thread() if largest <= SMALL_LAYER else nullcontext()


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


def _objective(
    loss: str | Callable[[Any, Any], Any], temperature: float | Temperature | None, ranks: Ranks
) -> Callable[[Any, Any], Any]:
    if callable(loss):
        if temperature is not None:
            raise InputError(
                "temperature is for a loss given by name; a callable carries its own: use functools.partial"
            )
        return loss
    losses.infonce.check_loss_name(loss)
    if temperature is None:
        raise InputError(f'loss "{loss}" needs a temperature, for example temperature=0.2')
    check_temperature(temperature)
    if ranks.size > 1:
        return partial(getattr(distributed, loss), temperature=temperature, ranks=ranks)
    return partial(getattr(losses, loss), temperature=temperature)


def _bounds_note(loss: Any, batch_size: int, temperature: float | Temperature | None) -> str:
    if not isinstance(loss, str) or temperature is None:
        return ""
    tau = temperature.value if isinstance(temperature, Temperature) else temperature
    note = f" (floor {losses.floor(loss, batch_size, tau):.3f}, chance {losses.chance(loss, batch_size):.3f})"
    return note + (f", temperature {tau:.3f}" if isinstance(temperature, Temperature) else "")


def _bar(total: int, progress: bool | str) -> Any:
    from tqdm import tqdm  # imported when training starts: it would slow the library's own import

    return tqdm(total=total, desc=progress if isinstance(progress, str) else None, disable=not progress, unit="step")
