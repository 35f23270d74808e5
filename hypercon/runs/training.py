"""A run: training in a folder from which it goes on after a stop, and which tells what happened at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypercon.data import Dataset, load_both
from hypercon.distributed import Ranks, check_ranks
from hypercon.errors import InputError
from hypercon.files import atomic, write_json
from hypercon.locks import locked
from hypercon.metrics import Diagnosis
from hypercon.nn import Encoder, save_encoder
from hypercon.runs.reading import (
    CHECKPOINTS,
    CONFIG,
    DIAGNOSIS,
    ENCODER,
    PICTURE,
    SCHEMA,
    Run,
    named,
    read_settings,
    write_history,
)
from hypercon.runs.settings import (
    Settings,
    decide,
    describe,
    generator,
    make_encoder,
    optimizer_of,
    temperature_of,
    views_of,
)
from hypercon.runs.watching import Watch, warnings_about
from hypercon.temperature import Temperature
from hypercon.training import History, fit
from hypercon.training.keeping import check_seconds
from hypercon.validation import check_whole


def train(
    out: str | Path,
    given: dict[str, Any],
    *,
    resume: bool = False,
    measure_every: int = 5,
    checkpoint_every: float = 60.0,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    ranks: Ranks | None = None,
) -> Run:
    """Train an encoder in a folder that holds all there is to know about it.

    Parameters
    ----------
    out : path-like
        The folder: ``config.json``, ``history.jsonl``, ``progress.png``, ``checkpoints/`` and, at the end,
        ``encoder.npz``; and ``tensorboard/``, if that is installed.
    given : dict
        Settings by name, those of `Settings`; the rest as it stands there.
    resume : bool, default False
        Go on with the run in the folder, or start one where there is none. Settings are then those of its start;
        what is given beside must agree with them, but for more epochs at a constant rate.
    measure_every : int, default 5
        Epochs from one measurement on held-out images to the next; the first and the last are always measured.
    checkpoint_every : float, default 60
        Seconds between checkpoints.
    progress : bool, default False
        Show a bar.
    say : callable, optional
        Receives a line for each thing worth telling.
    ranks : Ranks, optional
        Those that ``mpiexec`` has started; rank 0 alone writes and tells. See `hypercon.fit`.

    Returns
    -------
    Run

    Raises
    ------
    InputError, DtypeError, DataError, DeviceError
        The settings cannot be carried out, or the folder holds another run; nothing is trained or written then.
    RunError, CheckpointError
        What the folder holds cannot be gone on with.
    TrainingError
        A loss is no longer finite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = train(f"{folder}/first", {"data": "digits", "temperature": 0.2, "epochs": 2})
    >>> [record["epoch"] for record in run.epochs], sorted(run.epochs[-1])[:3]
    ([1, 2], ['alarms', 'alignment', 'effective_rank'])
    """
    folder = named(out)
    measure_every, seconds = check_whole(measure_every, "measure_every", least=1), check_seconds(checkpoint_every)
    ranks = check_ranks(ranks)
    started = read_settings(folder)
    ranks.any(False)  # before rank 0 writes any
    if started is not None and not resume:
        raise InputError(
            f"out got {str(folder)!r}, which holds a run: go on with it by --resume (in Python resume=True), or "
            f"choose another"
        )
    settings = _asked_for(given, started, folder if resume else None)
    train_data, test_data = load_both(settings.data, seed=settings.seed)
    settings = decide(settings, train_data)
    if started is not None:
        _check_agree(settings, started, folder)
    if ranks.rank:
        return _train(folder, settings, train_data, test_data, resume, measure_every, seconds, False, say, ranks)
    _make(folder)
    with locked(folder, "out"):
        for unfinished in folder.glob(".*.part"):  # a kill inside a write leaves one
            unfinished.unlink(missing_ok=True)
        write_json(folder / CONFIG, {"schema": SCHEMA, "settings": describe(settings)})
        return _train(folder, settings, train_data, test_data, resume, measure_every, seconds, progress, say, ranks)


def _train(
    folder: Path,
    settings: Settings,
    train_data: Dataset,
    test_data: Dataset,
    resume: bool,
    measure_every: int,
    checkpoint_every: float,
    progress: bool,
    say: Callable[[str], None],
    ranks: Ranks,
) -> Run:
    encoder = make_encoder(settings, train_data)
    temperature = temperature_of(settings)
    steps = len(train_data.images) // settings.batch_size
    watch, told = Watch(settings, train_data, test_data), set[str]()
    board = _tensorboard(folder) if ranks.rank == 0 else None

    judged: Diagnosis | None = None  # after the last epoch, which is always measured

    def after_epoch(history: History) -> dict[str, Any]:
        nonlocal judged
        *before, record = history.epochs
        number, found = record["epoch"], dict[str, Any]()
        if number == 1 or number % measure_every == 0 or number == settings.epochs:
            measured, judged = watch.measure(encoder, record["temperature"])
            found |= measured | {"alarms": judged.alarms}
        warnings = warnings_about([*before, record | found], settings)
        if warnings:
            found["warnings"] = warnings
        for warning in warnings:
            if (kind := warning.partition(" (")[0].partition(":")[0]) not in told:
                say(f"epoch {number}: {warning}")
                told.add(kind)
        write_history(folder, [*before, record | found])
        for name, value in (record | found).items():
            if board is not None and isinstance(value, int | float):
                board.add_scalar(name, value, record["step"])
        if found and progress:
            say(_line(record | found))
        return found

    with nullcontext() if board is None else closing(board):
        history = fit(
            encoder,
            train_data.images,
            loss=settings.loss,
            temperature=temperature,
            optimizer=optimizer_of(settings, encoder, temperature, steps),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            augment=views_of(settings, train_data),
            rng=generator(settings, "training"),
            progress=progress,
            on_epoch=after_epoch,
            checkpoint=folder / CHECKPOINTS,
            resume=resume,
            checkpoint_every=checkpoint_every,
            ranks=ranks,
        )
    at = temperature.value if isinstance(temperature, Temperature) else float(temperature)
    if ranks.rank > 0:
        return Run(folder, settings, history.epochs)
    if judged is None:  # a kill came between the last step and this: no epoch was left
        _, judged = watch.measure(encoder, at)
    run = Run(folder, settings, history.epochs, judged)
    _finish(run, encoder, at)
    return run


def _finish(run: Run, encoder: Encoder, temperature: float) -> None:
    """What stands in the folder at the end, made anew where a kill came between the last step and this."""
    from hypercon.runs.picture import progress_figure  # matplotlib is loaded by those who draw

    write_history(run.folder, run.epochs)
    save_encoder(run.folder / ENCODER, encoder, {"settings": describe(run.settings), "temperature": temperature})
    if run.diagnosis is not None:
        write_json(run.folder / DIAGNOSIS, run.diagnosis.to_dict())
    with atomic(run.folder / PICTURE) as stream:
        progress_figure([run]).savefig(stream, format="png")


def _asked_for(given: dict[str, Any], started: Settings | None, resumed: Path | None) -> Settings:
    if unknown := sorted(given.keys() - {field.name for field in fields(Settings)}):
        raise InputError(f"{unknown[0]} is no setting of a run")
    if started is not None:
        return replace(started, **given)
    if "temperature" not in given and resumed is not None:
        raise InputError(
            f"out got {str(resumed)!r}, which holds no run to go on with: name the folder of one, or give "
            f"--temperature (in Python temperature=...) to start it"
        )
    if "temperature" not in given:
        raise InputError("temperature got none, expected a number such as 0.2, learned:0.07, or cosine:0.1:1:500")
    return Settings(**given)


def _check_agree(settings: Settings, started: Settings, folder: Path) -> None:
    """Refuse to go on with other settings; more epochs are no others where the rate does not depend on their number."""
    differing = [
        field.name for field in fields(Settings) if getattr(settings, field.name) != getattr(started, field.name)
    ]
    if settings.schedule == "constant" and settings.epochs > started.epochs:
        differing.remove("epochs")
    if not differing:
        return
    first, *others = (f"{name} got {_shown(settings, name)}, {_shown(started, name)} there" for name in differing)
    raise InputError(
        f"{'; '.join([first, *others])}: {folder} holds a run with those settings; leave these out to go on with it, "
        f"or choose another folder"
    )


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return " ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out got {str(folder)!r}, which cannot be made ({error.strerror}): choose another") from None


def _tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard's, if that is installed."""
    try:
        from tensorboard.summary import Writer
    except ImportError:
        return None
    return Writer(str(folder / "tensorboard"))


def summary(run: Run) -> str:
    """The last epoch of a run, in a line."""
    measured = [record for record in run.epochs if "uniformity" in record]
    return _line(measured[-1]) if measured else "no epoch is finished"


def _line(record: dict[str, Any]) -> str:
    """What was measured, for a reader who looks on."""
    names = {
        "uniformity": "uniformity {:.2f}",
        "alignment": "alignment {:.3f}",
        "effective_rank": "rank {:.1f}",
        "tolerance_gap": "tolerance gap {:.3f}",
        "knn": "kNN {:.1%}",
    }
    measured = ", ".join(form.format(record[name]) for name, form in names.items() if name in record)
    return f"epoch {record['epoch']}: loss {record['loss']:.3f}" + (f", {measured}" if measured else "")
