"""``hypercon dilemma``, ``explain`` and ``reproduce``: what is shown, laid open and judged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hypercon.cli.command import INTERRUPTED, USAGE, command, number, say, whole
from hypercon.errors import InputError

# --- hypercon dilemma

_DILEMMA = """\
Train one encoder for each temperature on the same images, from the same start, and show what the temperature did.

A small temperature pushes the nearest negatives hardest and spreads embeddings evenly over the sphere (uniformity);
but the nearest are often of the same class, so it also drives apart what belongs together (tolerance). A table,
results.json, dilemma.png and a checkpoint for each temperature are written. Run again with the same arguments, it
goes on where it stopped, and a temperature more trains that one alone. A folder with results of other settings is
left untouched unless --overwrite is given.
"""

_DILEMMA_EXAMPLES = """\
examples:
  hypercon dilemma --quick                          8x8 digits, under a minute
  hypercon dilemma                                  Fashion-MNIST subset, a few minutes
  hypercon dilemma --temperatures 0.05 0.1 0.5 --seed 3 --out runs/seed-3
  hypercon dilemma --data my-images.npz --out runs/mine
  hypercon dilemma --quick --repeat 5 --out runs/five   five seeds, and a table of what holds for each

a PATH is a folder of IDX, CIFAR, STL-10 or SVHN files as they are published, a folder of PNG or JPEG files in a folder
for each class (CLASS/*.png, or train/CLASS/*.png and test/CLASS/*.png), or an .npz file (made by numpy.savez) with
  images        (N, H, W) or (N, H, W, C), channels last; uint8 from 0 to 255, or floats from 0 to 1
  labels        (N,) whole numbers or names; optional, and with them accuracies and tolerance are measured
  test_images   like images, (M, H, W) or (M, H, W, C); without them a tenth of the images is held out
  test_labels   (M,) with test_images, where there are labels; no class that labels lack
Images below 16 pixels a side are trained with an MLP, others with a CNN.
"""


def add_dilemma(commands: Any) -> None:
    parser = command(
        commands,
        "dilemma",
        _dilemma,
        "the main experiment: see the uniformity-tolerance dilemma on real images",
        _DILEMMA,
        _DILEMMA_EXAMPLES,
    )
    parser.add_argument(
        "--quick", action="store_true", help="8x8 digits and a small MLP instead of Fashion-MNIST and a CNN"
    )
    parser.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="digits, fashion-mini, one of hypercon data list, or your images (default: fashion-mini)",
    )
    parser.add_argument(
        "--temperatures", nargs="+", type=number, default=[0.07, 0.2, 1.0], metavar="TAU", help="default: 0.07 0.2 1.0"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of weights, batches and views (default: 0)")
    parser.add_argument(
        "--repeat", type=whole, default=1, metavar="N", help="repeat for N seeds from --seed on (default: 1)"
    )
    parser.add_argument(
        "--jobs", type=whole, default=1, metavar="N", help="seeds at a time, each in a process of its own (default: 1)"
    )
    parser.add_argument("--epochs", type=whole, help="passes over the images (default: what suits the data)")
    parser.add_argument(
        "--batch-size", type=whole, default=256, metavar="N", help="instances in a batch (default: 256)"
    )
    parser.add_argument("--loss", default="info_nce", help="info_nce or nt_xent (default: info_nce)")
    parser.add_argument(
        "--window",
        type=number,
        metavar="SHARE",
        help="smallest window that a view shows, as a share of the side; smaller is a stronger view "
        "(default: 0.8 or 0.9, what suits the data)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, or auto: a GPU if one answers (default: auto)"
    )
    parser.add_argument("--out", default="runs/dilemma", metavar="DIR", help="where results go (default: runs/dilemma)")
    parser.add_argument("--overwrite", action="store_true", help="replace what a run with other settings left in --out")


def _dilemma(arguments: argparse.Namespace) -> int:
    from hypercon.experiments import dilemma, report
    from hypercon.experiments.settings import Settings

    if arguments.quick and arguments.data not in (None, "digits"):
        raise InputError("quick is the digits experiment: leave out --quick or --data")
    if arguments.repeat < 1:
        raise InputError(f"repeat got {arguments.repeat}, expected at least 1")
    settings = Settings(
        data=arguments.data or ("digits" if arguments.quick else "fashion-mini"),
        temperatures=tuple(arguments.temperatures),
        seed=arguments.seed,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        loss=arguments.loss,
        window=arguments.window,
        device=arguments.device,
    )
    out, options = arguments.out, {"overwrite": arguments.overwrite, "progress": True, "say": say}
    try:
        if arguments.repeat == 1:
            results = dilemma.run(settings, out, **options)
            print(report.table(results))
            print(f"\nwritten to {out}: results.json, dilemma.png and a checkpoint for each temperature")
        else:
            table = report.repeat(settings, out, arguments.repeat, jobs=arguments.jobs, **options)
            print(table)
            print(f"\nwritten to {out}: seeds.md, and the results of each seed in a folder of its own")
    except KeyboardInterrupt:
        kept = sorted(str(path) for path in Path(out).glob("**/encoder-tau-*.npz"))
        say(
            "\ninterrupted; "
            + (f"kept: {', '.join(kept)}; the same command goes on from there" if kept else "nothing finished yet")
        )
        return INTERRUPTED
    return 0


# --- hypercon explain

_EXPLAIN = """\
Lay a trained encoder's loss open on held-out images, as a page with a temperature to move.

The page shows every negative of an image at its similarity and the share of the push that it receives, and needs no
network. Data, loss and temperature are those that the encoder was trained with, unless others are given.
"""

_EXPLAIN_EXAMPLES = """\
examples:
  hypercon dilemma --quick && hypercon explain runs/dilemma/encoder-tau-0.07.npz
  hypercon explain runs/dilemma/encoder-tau-1.npz --index 12 --temperature 0.2 --out page.html
"""


def add_explain(commands: Any) -> None:
    parser = command(
        commands,
        "explain",
        _explain,
        "a page that shows what the loss of a trained encoder does to an image",
        _EXPLAIN,
        _EXPLAIN_EXAMPLES,
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="an encoder, such as hypercon dilemma leaves, or a folder of hypercon train",
    )
    parser.add_argument("--data", metavar="NAME|PATH", help="the name of a data set, or your images")
    parser.add_argument("--index", type=whole, default=0, metavar="I", help="which held-out image (default: 0)")
    parser.add_argument("--temperature", type=number, metavar="TAU", help="where the page starts")
    parser.add_argument("--loss", help="info_nce, nt_xent or dcl")
    parser.add_argument("--count", type=whole, default=256, metavar="N", help="images in the batch (default: 256)")
    parser.add_argument("--seed", type=whole, default=0, help="of the views (default: 0)")
    parser.add_argument(
        "--out", default="explanation.html", metavar="FILE", help="the page (default: explanation.html)"
    )


def _explain(arguments: argparse.Namespace) -> int:
    from hypercon.experiments.explaining import explain_checkpoint

    found = explain_checkpoint(
        arguments.checkpoint,
        arguments.out,
        data=arguments.data,
        index=arguments.index,
        temperature=arguments.temperature,
        loss=arguments.loss,
        count=arguments.count,
        seed=arguments.seed,
    )
    print(found)
    print(f"\nwritten to {arguments.out}")
    return 0


# --- hypercon reproduce

_REPRODUCE = """\
Measure claims of Wang & Liu 2021 and Wang & Isola 2020, and judge each by a rule that was written down before.

Every claim leaves a record (JSON) and a picture, and all records in the folder, those of earlier runs too, make a
page, report.html. Exact claims are settled by arithmetic; trained ones look at small encoders, which are trained once
for all claims and kept in DIR/encoders, so a run that was interrupted goes on. A claim that does not hold is a result
and no fault: the status is 1 only where a measurement failed.
"""

_REPRODUCE_EXAMPLES = """\
examples:
  hypercon reproduce                                all that arithmetic can settle, in under a minute
  hypercon reproduce --list                         every claim, its source, and how long it takes
  hypercon reproduce wl-eq4 wi-theorem1 --seed 3
  hypercon reproduce wl-fig9 --seeds 1              one figure, 17 small encoders, a minute and a half
  hypercon reproduce trained --jobs 2               all that has to be trained, on two cores
  hypercon reproduce trained --data my-images.npz --seeds 3 --out runs/mine
"""


def add_reproduce(commands: Any) -> None:
    parser = command(
        commands,
        "reproduce",
        _reproduce,
        "the claims of the two papers, measured and judged",
        _REPRODUCE,
        _REPRODUCE_EXAMPLES,
    )
    parser.add_argument(
        "claims", nargs="*", metavar="ID", default=[], help="ids, exact, trained, or all (default: exact)"
    )
    parser.add_argument("--list", action="store_true", help="print these claims (default: all) and end")
    parser.add_argument("--seed", type=whole, default=0, help="of what is drawn, and the first (default: 0)")
    parser.add_argument(
        "--seeds", type=whole, default=5, metavar="N", help="repeat every training for N seeds (default: 5)"
    )
    parser.add_argument(
        "--data", default="digits", metavar="NAME|FILE.npz", help="what is trained on (default: digits)"
    )
    parser.add_argument("--jobs", type=whole, default=1, metavar="N", help="trainings side by side (default: 1)")
    parser.add_argument("--epochs", type=whole, help="passes over the images (default: what suits the data)")
    parser.add_argument(
        "--out", default="runs/reproduce", metavar="DIR", help="where results go (default: runs/reproduce)"
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    from hypercon.experiments.papers import run as papers

    if arguments.list:
        print(papers.listing(papers.choose(arguments.claims or ["all"])))
        return 0
    unknown = list[str]()
    claims = papers.choose(arguments.claims or ["exact"], unknown.append)
    for line in unknown:
        say(f"hypercon reproduce: {line}")
    try:
        records = papers.run(
            claims,
            arguments.out,
            seed=arguments.seed,
            seeds=arguments.seeds,
            data=arguments.data,
            jobs=arguments.jobs,
            epochs=arguments.epochs,
            progress=True,
            say=say,
        )
    except KeyboardInterrupt:
        say(f"\ninterrupted; what was trained is kept in {arguments.out}, and the same command goes on from there")
        return INTERRUPTED
    print(papers.table(records))
    print(f"\nwritten to {arguments.out}: a record and a picture for each, and report.html of all in the folder")
    if unknown:
        return USAGE
    return int(any("error" in record for record in records))
