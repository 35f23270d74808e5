"""``hypercon train``, ``plot`` and ``data``: long trainings, and the images for them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hypercon.cli.command import INTERRUPTED, command, number, number_or_word, say, say_beside_bar, whole
from hypercon.errors import HyperconError, InputError

# --- hypercon data

_DATA = """\
Data sets that others publish: what there is, bringing it here, and where it lies.

Files are kept in one folder, HYPERCON_DATA or else the user's cache, checked by their checksums, and downloaded when
they are first asked for: by this command, or by any --data with their name. A download that was cut goes on where it
stopped. On a machine without a network, put the files into the folder that `hypercon data path NAME` prints.
"""

_DATA_EXAMPLES = """\
examples:
  hypercon data list
  hypercon data get fashion-mnist cifar10
  HYPERCON_DATA=/scratch/data hypercon data path mnist
  hypercon dilemma --data fashion-mnist --epochs 4
"""


def add_data(commands: Any) -> None:
    parser = command(
        commands, "data", _data, "data sets that others publish: list them, download them", _DATA, _DATA_EXAMPLES
    )
    parser.add_argument(
        "action", choices=["list", "get", "path"], metavar="list|get|path", help="what to do; list needs no name"
    )
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="of data sets, as list shows them")


def _data(arguments: argparse.Namespace) -> int:
    from hypercon.data import catalogue, fetching

    if arguments.action == "list":
        print(catalogue.listing(fetching.folder(), {name: fetching.is_here(name) for name in catalogue.PUBLISHED}))
        return 0
    if arguments.action == "path":
        for name in arguments.names:
            fetching.published(name)
        print(*[fetching.folder() / name for name in arguments.names] or [fetching.folder()], sep="\n")
        return 0
    if not arguments.names:
        raise InputError("get needs the name of a data set: hypercon data list shows them")
    for name in arguments.names:
        fetching.published(name)  # a mistake in the last name is no reason to download the first
    for name in arguments.names:
        print(fetching.fetch(name))
    return 0


# --- hypercon train, hypercon plot

_TRAIN = """\
Train one encoder for as long as it takes, in a folder that holds all there is to know about the run.

A bar shows the loss beside chance and floor, images a second and the time left. Held-out images are measured every
few epochs, and what looks wrong is said early. Killed or interrupted at any moment, the run goes on with --resume to
the same bits. The folder holds config.json, history.jsonl (a line for each epoch), checkpoints, and at the end
encoder.npz and progress.png; TensorBoard's files too, where tensorboard is installed.
"""

_TRAIN_EXAMPLES = """\
examples:
  hypercon train --data digits --temperature 0.2 --out runs/digits
  hypercon train --resume --out runs/digits                  go on after a stop
  hypercon train --temperature learned:0.07 --epochs 100 --loss nt_xent --out runs/learned
  hypercon train --temperature cosine:0.1:1:500 --data my-images.npz --out runs/cosine
  hypercon plot runs/digits runs/learned                     compare runs in a picture
"""


def add_train(commands: Any) -> None:
    parser = command(
        commands,
        "train",
        _train,
        "train an encoder for long, with checkpoints, measures and early warnings",
        _TRAIN,
        _TRAIN_EXAMPLES,
    )
    parser.stray = "the run's folder goes after --out"
    parser.add_argument(
        "--temperature",
        type=number_or_word,
        metavar="TAU",
        help="a number; learned:0.07, trained from there; or cosine:LOWEST:HIGHEST:STEPS (required at the start)",
    )
    parser.add_argument(
        "--data", metavar="NAME|FILE.npz", help="digits, fashion-mini, or your images (default: fashion-mini)"
    )
    parser.add_argument("--loss", help="info_nce or nt_xent (default: info_nce)")
    parser.add_argument("--encoder", help="mlp or cnn (default: mlp below 16 pixels a side)")
    parser.add_argument("--widths", nargs="+", type=whole, metavar="N", help="of the layers (default: what suits)")
    parser.add_argument("--strides", nargs="+", type=whole, metavar="N", help="of a cnn's layers (default: 2 each)")
    parser.add_argument("--dim", type=whole, metavar="N", help="of the embedding (default: 64)")
    parser.add_argument("--epochs", type=whole, metavar="N", help="passes over the images (default: 20)")
    parser.add_argument("--batch-size", type=whole, metavar="N", help="instances in a batch (default: 256)")
    parser.add_argument("--optimizer", help="adam or sgd (default: adam)")
    parser.add_argument("--rate", type=number, help="learning rate (default: 0.002 for adam, 0.1 for sgd)")
    parser.add_argument("--schedule", help="of the rate, cosine or constant (default: cosine)")
    parser.add_argument("--warmup", type=whole, metavar="N", help="epochs over which the rate rises (default: 0)")
    parser.add_argument("--momentum", type=number, help="of sgd (default: 0.9)")
    parser.add_argument("--weight-decay", type=number, help="of adam (default: 0)")
    parser.add_argument("--window", type=number, metavar="SHARE", help="smallest window of a view (default: 0.9)")
    parser.add_argument("--seed", type=whole, help="of weights, batches and views (default: 0)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, or auto (default: cpu)")
    parser.add_argument("--out", default="runs/train", metavar="DIR", help="the run's folder (default: runs/train)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, or start it")
    parser.add_argument(
        "--measure-every", type=whole, default=5, metavar="N", help="epochs between two measurements (default: 5)"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=number,
        default=60.0,
        metavar="SECONDS",
        help="between two checkpoints (default: 60)",
    )


def _train(arguments: argparse.Namespace) -> int:
    import shlex
    import warnings
    from dataclasses import fields

    from hypercon import runs
    from hypercon.distributed import ranks_of_this_job, together

    ranks = ranks_of_this_job()
    names = [field.name for field in fields(runs.Settings)]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        with together(ranks), warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest, **options: say_beside_bar(str(message))
            run = runs.train(
                arguments.out,
                given,
                resume=arguments.resume,
                measure_every=arguments.measure_every,
                checkpoint_every=arguments.checkpoint_every,
                progress=True,
                say=say_beside_bar,
                ranks=ranks,
            )
    except (KeyboardInterrupt, SystemExit) as end:
        if ranks.rank:
            raise
        from hypercon.training import newest_checkpoint

        try:
            step = newest_checkpoint(Path(arguments.out) / "checkpoints").step
        except HyperconError:
            say("\ninterrupted before anything was kept")
        else:
            folder = shlex.quote(arguments.out)
            say(f"\ninterrupted, and kept at step {step}; go on with: hypercon train --resume --out {folder}")
        if isinstance(end, SystemExit):
            raise
        return INTERRUPTED
    if ranks.rank:
        return 0
    print(runs.summary(run))
    print(f"\n{run.diagnosis}")
    written = "encoder.npz, progress.png, diagnosis.json, history.jsonl, config.json and checkpoints"
    print(f"\nwritten to {arguments.out}: {written}")
    return 0


_PLOT = """\
Draw runs of hypercon train in one picture: the loss, and what was measured on held-out images.

Runs that are still training may be among them. Each is named by its folder, and by the settings in which it differs.
"""


def add_plot(commands: Any) -> None:
    parser = command(commands, "plot", _plot, "compare runs of hypercon train in one picture", _PLOT)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that hypercon train wrote")
    parser.add_argument("--out", default="runs.png", metavar="FILE", help="the picture (default: runs.png)")


def _plot(arguments: argparse.Namespace) -> int:
    from hypercon import runs
    from hypercon.runs.picture import compare

    for run in compare(arguments.runs, arguments.out):
        print(f"{run.folder}: {runs.summary(run)}")
    print(f"\nwritten to {arguments.out}")
    return 0
