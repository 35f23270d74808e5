"""``hypercon``: the experiments from a shell.

Bad input ends with one line on standard error and status 2; an interrupt with status 130. Everything heavy is imported
after the arguments have been read, so that help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hypercon.errors import DataError, HyperconError, InputError
from hypercon.version import __version__

USAGE, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if "command" not in arguments:
        parser.print_help()
        return 0
    try:
        return int(arguments.command(arguments))
    except HyperconError as error:
        print(f"hypercon {arguments.name}: {_by_option(error, arguments)}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"\nhypercon {arguments.name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="hypercon",
        description="The contrastive loss, laid open: what it weighs, pulls and pushes, and what embeddings become.",
        epilog="Start with: hypercon dilemma --quick",
    )
    parser.add_argument("--version", action="version", version=f"hypercon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_dilemma(commands)
    _add_explain(commands)
    _add_reproduce(commands)
    _add_lessons(commands)
    _add_check(commands)
    _add_course(commands)
    _add_grade(commands)
    _add_data(commands)
    _add_train(commands)
    _add_plot(commands)
    _add_bench(commands)
    _add_config(commands)
    return parser


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str | None = None,
) -> argparse.ArgumentParser:
    """A command's own parser: what ``hypercon --help`` says of it, what its own help says, and what it calls."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run, name=name)
    return parser


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


def _add_dilemma(commands: Any) -> None:
    parser = _command(
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
        "--temperatures", nargs="+", type=_number, default=[0.07, 0.2, 1.0], metavar="TAU", help="default: 0.07 0.2 1.0"
    )
    parser.add_argument("--seed", type=_whole, default=0, help="of weights, batches and views (default: 0)")
    parser.add_argument(
        "--repeat", type=_whole, default=1, metavar="N", help="repeat for N seeds from --seed on (default: 1)"
    )
    parser.add_argument(
        "--jobs", type=_whole, default=1, metavar="N", help="seeds at a time, each in a process of its own (default: 1)"
    )
    parser.add_argument("--epochs", type=_whole, help="passes over the images (default: what suits the data)")
    parser.add_argument(
        "--batch-size", type=_whole, default=256, metavar="N", help="instances in a batch (default: 256)"
    )
    parser.add_argument("--loss", default="info_nce", help="info_nce or nt_xent (default: info_nce)")
    parser.add_argument(
        "--window",
        type=_number,
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
    out, options = arguments.out, {"overwrite": arguments.overwrite, "progress": True, "say": _say}
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
        _say(
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


def _add_explain(commands: Any) -> None:
    parser = _command(
        commands,
        "explain",
        _explain,
        "a page that shows what the loss of a trained encoder does to an image",
        _EXPLAIN,
        _EXPLAIN_EXAMPLES,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="an encoder, such as hypercon dilemma leaves")
    parser.add_argument("--data", metavar="NAME|PATH", help="the name of a data set, or your images")
    parser.add_argument("--index", type=_whole, default=0, metavar="I", help="which held-out image (default: 0)")
    parser.add_argument("--temperature", type=_number, metavar="TAU", help="where the page starts")
    parser.add_argument("--loss", help="info_nce, nt_xent or dcl")
    parser.add_argument("--count", type=_whole, default=256, metavar="N", help="images in the batch (default: 256)")
    parser.add_argument("--seed", type=_whole, default=0, help="of the views (default: 0)")
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

Every claim leaves a record (JSON) and a picture, and all of them a page, report.html. Exact claims are settled by
arithmetic; trained ones look at small encoders, which are trained once for all claims and kept in DIR/encoders, so a
run that was interrupted goes on. A claim that does not hold is a result and no fault: the status is 1 only where a
measurement failed.
"""

_REPRODUCE_EXAMPLES = """\
examples:
  hypercon reproduce                                all that arithmetic can settle, in under a minute
  hypercon reproduce --list                         every claim, its source, and how long it takes
  hypercon reproduce wl-eq4 wi-theorem1 --seed 3
  hypercon reproduce wl-fig9 --seeds 1              one figure, 17 small encoders, two minutes
  hypercon reproduce trained --jobs 2               all that has to be trained, on two cores
  hypercon reproduce trained --data my-images.npz --seeds 3 --out runs/mine
"""


def _add_reproduce(commands: Any) -> None:
    parser = _command(
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
    parser.add_argument("--list", action="store_true", help="print every claim and end")
    parser.add_argument("--seed", type=_whole, default=0, help="of what is drawn, and the first (default: 0)")
    parser.add_argument(
        "--seeds", type=_whole, default=5, metavar="N", help="repeat every training for N seeds (default: 5)"
    )
    parser.add_argument(
        "--data", default="digits", metavar="NAME|FILE.npz", help="what is trained on (default: digits)"
    )
    parser.add_argument("--jobs", type=_whole, default=1, metavar="N", help="trainings side by side (default: 1)")
    parser.add_argument("--epochs", type=_whole, help="passes over the images (default: what suits the data)")
    parser.add_argument(
        "--out", default="runs/reproduce", metavar="DIR", help="where results go (default: runs/reproduce)"
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    from hypercon.experiments.papers import run as papers

    if arguments.list:
        print(papers.listing())
        return 0
    unknown = list[str]()
    claims = papers.choose(arguments.claims or ["exact"], unknown.append)
    for line in unknown:
        _say(f"hypercon reproduce: {line}")
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
            say=_say,
        )
    except KeyboardInterrupt:
        _say(f"\ninterrupted; what was trained is kept in {arguments.out}, and the same command goes on from there")
        return INTERRUPTED
    print(papers.table(records))
    print(f"\nwritten to {arguments.out}: a record and a picture for each, and report.html")
    if unknown:
        return USAGE
    return int(any("error" in record for record in records))


# --- hypercon lessons

_LESSONS = """\
List the lessons, or write one as a notebook to work in.

Each lesson has exercises, which are checked as you go. The notebook needs nothing but hypercon; open it in JupyterLab
(pip install jupyterlab), VS Code or whatever else runs notebooks.
"""

_LESSONS_EXAMPLES = """\
examples:
  hypercon lessons                                  what there is, and how long it takes
  hypercon lessons start 03                         lessons/03_infonce.ipynb
  hypercon lessons start 03 --solution              the same with its solutions
"""


def _add_lessons(commands: Any) -> None:
    parser = _command(
        commands,
        "lessons",
        _lessons,
        "learn contrastive learning by seeing it: notebooks with exercises",
        _LESSONS,
        _LESSONS_EXAMPLES,
    )
    parser.add_argument("action", nargs="?", choices=("list", "start"), default="list", help="default: list")
    parser.add_argument("number", nargs="?", metavar="NN", help="which lesson to start, such as 03")
    parser.add_argument("--out", default="lessons", metavar="DIR", help="where the notebook goes (default: lessons)")
    parser.add_argument("--solution", action="store_true", help="with the solutions of its exercises")


def _lessons(arguments: argparse.Namespace) -> int:
    from hypercon.coursework import catalogue

    if arguments.action == "list":
        print(catalogue.listing())
        print("\nstart one with: hypercon lessons start 03")
        return 0
    if arguments.number is None:
        raise InputError("start needs a number, such as hypercon lessons start 03: see hypercon lessons list")
    path = catalogue.start(arguments.number, arguments.out, solution=arguments.solution)
    print(f"written to {path}\nopen it with: jupyter lab {path}    (pip install jupyterlab)")
    return 0


# --- hypercon check and hypercon course: what students and their teachers begin with

_CHECK = """\
Check your own solutions of an assignment: each exercise by its properties, in seconds.

What holds takes one line. Where something does not, you see which property, the smallest input that fails, what was got
and expected, and a hint. The program runs here, as it would if you ran it yourself.
"""

_CHECK_EXAMPLES = """\
examples:
  hypercon check a2.py                              every exercise of assignment 2
  hypercon check a2.py 2.3 2.4                      two of them
  hypercon check .                                  every assignment in this folder

Status 0 says that everything holds, 1 that something does not.
"""

_COURSE = """\
Write the students' editions of the assignments: the text, and stubs in the place of the solutions.

Nothing is written if any of a solution would be left in them.
"""

_COURSE_EXAMPLES = """\
examples:
  hypercon course release handout                   all assignments
  hypercon course release handout a1 a2             two of them
  hypercon course list                              what there is, and how many points each has

docs/teaching.md is the guide for teachers: setting up, grading, and tasks of one's own.
"""


def _add_check(commands: Any) -> None:
    parser = _command(
        commands, "check", _check, "students: check your own solutions of an assignment", _CHECK, _CHECK_EXAMPLES
    )
    parser.add_argument("path", metavar="FILE|FOLDER", help="such as a2.py, or a folder that holds assignments")
    parser.add_argument("exercise", nargs="*", metavar="ID", help="such as 2.3 (default: every exercise)")
    parser.add_argument("--tasks", metavar="FILE", help="what your teacher gave you, if the task is not hypercon's own")


def _check(arguments: argparse.Namespace) -> int:
    from hypercon.coursework.assignments import find
    from hypercon.coursework.homework import check_file, find_files

    own = find(arguments.tasks) if arguments.tasks else None
    checked = []
    for path in find_files(arguments.path):
        for result in check_file(path, arguments.exercise, own):
            print(result.text, flush=True)
            checked.append(result)
    held = sum(result.holds for result in checked)
    print(f"\n{held} of {len(checked)} exercises hold")
    return int(held < len(checked))


def _add_course(commands: Any) -> None:
    parser = _command(commands, "course", _course, "teachers: write the students' editions", _COURSE, _COURSE_EXAMPLES)
    parser.add_argument("action", choices=("list", "release"))
    parser.add_argument("out", nargs="?", metavar="OUT", help="the folder to write to")
    parser.add_argument(
        "assignment",
        nargs="*",
        metavar="ASSIGNMENT",
        help="such as a2, or a .py file that declares one of your own (default: all of hypercon's)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _course(arguments: argparse.Namespace) -> int:
    from hypercon.coursework.release import listing, release

    if arguments.action == "list":
        print(listing())
        return 0
    if arguments.out is None:
        raise InputError("release needs a folder to write to, such as hypercon course release handout")
    for path in release(arguments.out, arguments.assignment, overwrite=arguments.overwrite):
        print(f"written to {path}")
    return 0


# --- hypercon grade

_GRADE = """\
Grade submissions to an assignment. What students wrote runs in a process of its own, behind walls; the judge, which
draws fresh inputs and compares answers, never runs any of it. Marks are written once, when nothing of it runs any more.

A submission is a .py file, a .zip or a folder with the assignment's file in it; a folder of these is a class. One that
cannot be read or run is a row with its reason, and the others are graded.
"""

_GRADE_EXAMPLES = """\
examples:
  hypercon grade a2 submissions/                    a table of the class
  hypercon grade a2 submissions/ --out grades       also grades.csv, grades.json and a page for each student
  hypercon grade a2 ada.py --seed 7 --require-sandbox
  hypercon grade a2 /autograder/submission --format gradescope --out /autograder/results/results.json

The seed is drawn anew where none is given, and told: with it, everything is graded again alike. Keep it to
yourself until the deadline. docs/grading.md says what the sandbox promises and what it does not.
"""


def _add_grade(commands: Any) -> None:
    parser = _command(
        commands,
        "grade",
        _grade,
        "grade submissions to an assignment, in a sandbox (for teachers)",
        _GRADE,
        _GRADE_EXAMPLES,
    )
    parser.add_argument("assignment", metavar="ASSIGNMENT", help="such as a2, or a .py file that declares one")
    parser.add_argument("submissions", nargs="+", type=Path, metavar="SUBMISSION", help="files, archives, folders")
    parser.add_argument("--seed", type=_whole, help="of the inputs (default: drawn, and told)")
    parser.add_argument("--jobs", type=_whole, metavar="N", help="at a time (default: one for each core)")
    parser.add_argument(
        "--format",
        choices=["table", "json", "gradescope", "otter", "nbgrader"],
        default="table",
        help="of what is printed, or of --out FILE (default: table)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR|FILE", help="a new folder for everything, or a file (.json, .csv) for --format"
    )
    parser.add_argument(
        "--require-sandbox", action="store_true", help="grade nothing unless every layer of the sandbox stands"
    )


def _grade(arguments: argparse.Namespace) -> int:
    from hypercon.coursework import classroom, reports
    from hypercon.coursework.assignments import find

    find(arguments.assignment)
    if arguments.out:
        classroom.check_out(arguments.out, arguments.format)
    report = classroom.grade(
        arguments.assignment,
        arguments.submissions,
        seed=arguments.seed,
        jobs=arguments.jobs,
        require_sandbox=arguments.require_sandbox,
        progress=True,
    )
    printed = reports.FORMATS[arguments.format](report)
    if arguments.out:
        classroom.write(report, arguments.out, arguments.format)
    if not (arguments.out and arguments.out.suffix in classroom.SUFFIXES):
        print(printed, end="" if printed.endswith("\n") else "\n")
    if arguments.out:
        _say(f"written to {arguments.out}")
    return int(not all(grade.judged for grade in report.grades))


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


def _add_data(commands: Any) -> None:
    parser = _command(
        commands, "data", _data, "data sets that others publish: list them, download them", _DATA, _DATA_EXAMPLES
    )
    parser.add_argument("action", choices=["list", "get", "path"], help="what to do; list needs no name")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of data sets, as list shows them")


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


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        _train,
        "train an encoder for long, with checkpoints, measures and early warnings",
        _TRAIN,
        _TRAIN_EXAMPLES,
    )
    parser.add_argument(
        "--temperature",
        type=_number_or_word,
        metavar="TAU",
        help="a number; learned:0.07, trained from there; or cosine:LOWEST:HIGHEST:STEPS (required at the start)",
    )
    parser.add_argument(
        "--data", metavar="NAME|FILE.npz", help="digits, fashion-mini, or your images (default: fashion-mini)"
    )
    parser.add_argument("--loss", help="info_nce or nt_xent (default: info_nce)")
    parser.add_argument("--encoder", help="mlp or cnn (default: mlp below 16 pixels a side)")
    parser.add_argument("--widths", nargs="+", type=_whole, metavar="N", help="of the layers (default: what suits)")
    parser.add_argument("--strides", nargs="+", type=_whole, metavar="N", help="of a cnn's layers (default: 2 each)")
    parser.add_argument("--dim", type=_whole, metavar="N", help="of the embedding (default: 64)")
    parser.add_argument("--epochs", type=_whole, metavar="N", help="passes over the images (default: 20)")
    parser.add_argument("--batch-size", type=_whole, metavar="N", help="instances in a batch (default: 256)")
    parser.add_argument("--optimizer", help="adam or sgd (default: adam)")
    parser.add_argument("--rate", type=_number, help="learning rate (default: 0.002 for adam, 0.1 for sgd)")
    parser.add_argument("--schedule", help="of the rate, cosine or constant (default: cosine)")
    parser.add_argument("--warmup", type=_whole, metavar="N", help="epochs over which the rate rises (default: 0)")
    parser.add_argument("--momentum", type=_number, help="of sgd (default: 0.9)")
    parser.add_argument("--weight-decay", type=_number, help="of adam (default: 0)")
    parser.add_argument("--window", type=_number, metavar="SHARE", help="smallest window of a view (default: 0.9)")
    parser.add_argument("--seed", type=_whole, help="of weights, batches and views (default: 0)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, or auto (default: cpu)")
    parser.add_argument("--out", default="runs/train", metavar="DIR", help="the run's folder (default: runs/train)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, or start it")
    parser.add_argument(
        "--measure-every", type=_whole, default=5, metavar="N", help="epochs between two measurements (default: 5)"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=_number,
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
            warnings.showwarning = lambda message, *rest, **options: _say_beside_bar(str(message))
            run = runs.train(
                arguments.out,
                given,
                resume=arguments.resume,
                measure_every=arguments.measure_every,
                checkpoint_every=arguments.checkpoint_every,
                progress=True,
                say=_say_beside_bar,
                ranks=ranks,
            )
    except (KeyboardInterrupt, SystemExit) as end:
        if ranks.rank:
            raise
        from hypercon.training import newest_checkpoint

        try:
            step = newest_checkpoint(Path(arguments.out) / "checkpoints").step
        except HyperconError:
            _say("\ninterrupted before anything was kept")
        else:
            folder = shlex.quote(arguments.out)
            _say(f"\ninterrupted, and kept at step {step}; go on with: hypercon train --resume --out {folder}")
        if isinstance(end, SystemExit):
            raise
        return INTERRUPTED
    if ranks.rank:
        return 0
    print(runs.summary(run))
    print(f"\nwritten to {arguments.out}: encoder.npz, progress.png, history.jsonl, config.json and checkpoints")
    return 0


_PLOT = """\
Draw runs of hypercon train in one picture: the loss, and what was measured on held-out images.

Runs that are still training may be among them. Each is named by its folder, and by the settings in which it differs.
"""


def _add_plot(commands: Any) -> None:
    parser = _command(commands, "plot", _plot, "compare runs of hypercon train in one picture", _PLOT)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that hypercon train wrote")
    parser.add_argument("--out", default="runs.png", metavar="FILE", help="the picture (default: runs.png)")


def _plot(arguments: argparse.Namespace) -> int:
    from hypercon import runs
    from hypercon.runs.picture import compare

    for run in compare(arguments.runs, arguments.out):
        print(f"{run.folder}: {runs.summary(run)}")
    print(f"\nwritten to {arguments.out}")
    return 0


# --- hypercon bench

_BENCH = """\
Time hypercon beside other libraries on the same work.

Results are compared first; what is wrong is not timed. Then every library, in a process of its own, takes turns, and
medians, ratios, peak memory and who else used the machine are told. Peers that are not installed are left out. The
benchmarks come with the source: run this in a checkout of it.
"""

_BENCH_EXAMPLES = """\
examples:
  hypercon bench                                    every row but the largest, about ten minutes
  hypercon bench --only symmetric cnn-28            a group of rows, and a row
  hypercon bench --peers torch --python ~/torch/bin/python
                                                    one peer, which lives in another environment
  hypercon bench --large --repeat 3 --json bench.json
  hypercon bench --growth --json bench.json         how cost grows with batch and width, hypercon alone
  hypercon bench --page bench.json                  both as a page, bench.md
"""


def _add_bench(commands: Any) -> None:
    parser = _command(
        commands,
        "bench",
        _bench,
        "time hypercon beside PyTorch, JAX and others, in a checkout of the source",
        _BENCH,
        _BENCH_EXAMPLES,
    )
    parser.add_argument(
        "--peers",
        metavar="NAME,NAME",
        default="torch,torch-compile,jax,autograd,mygrad,tinygrad",
        help="whom to compare with, or none (default: %(default)s)",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows or groups of rows (default: all)")
    parser.add_argument("--large", action="store_true", help="the largest sizes too: minutes, and gigabytes in PyTorch")
    parser.add_argument("--rounds", type=_whole, default=9, metavar="N", help="turns of each library (default: 9)")
    parser.add_argument(
        "--repeat", type=_whole, default=1, metavar="N", help="run it all N times; the worst counts (default: 1)"
    )
    parser.add_argument("--python", metavar="PATH", help="the interpreter that has the peers (default: this one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--growth", action="store_true", help="measure instead how cost grows")
    other.add_argument("--page", type=Path, metavar="FILE.json", help="write instead the page of an earlier run")


def _bench(arguments: argparse.Namespace) -> int:
    command = _benchmarks()
    if arguments.page:
        return int(command.write_page(arguments.page, _say))
    if arguments.growth:
        return int(command.follow_growth(large=arguments.large, json_path=arguments.json, say=_say))
    peers = [] if arguments.peers == "none" else arguments.peers.split(",")
    return int(
        command.compare(
            peers=peers,
            only=arguments.only,
            large=arguments.large,
            rounds=arguments.rounds,
            repeat=arguments.repeat,
            python=arguments.python,
            json_path=arguments.json,
            say=_say,
        )
    )


def _benchmarks() -> Any:
    """The module that runs them: of the checkout that this package lies in, or else of the current folder."""
    import importlib

    for root in (Path(__file__).parents[1], Path.cwd()):
        if (root / "tests" / "benchmarks" / "command.py").is_file():
            sys.path.insert(0, str(root / "tests"))
            try:
                return importlib.import_module("benchmarks.command")
            finally:
                sys.path.pop(0)
    raise InputError("the benchmarks come with the source, and are not here: run this in a checkout of hypercon")


# --- hypercon config


def _add_config(commands: Any) -> None:
    description = "Print versions, the BLAS library and its threads, cores, and GPUs or why there are none."
    _command(
        commands,
        "config",
        _config,
        "versions, BLAS and threads, devices: what to add to a report of a problem",
        description,
    )


def _config(arguments: argparse.Namespace) -> int:
    from hypercon.configuration import show_config

    show_config()
    return 0


# --- words


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _say_beside_bar(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def _number_or_word(text: str) -> float | str:
    return text if text[:1].isalpha() and text not in ("nan", "inf") else _number(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number such as 0.2") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number") from None


def _by_option(error: HyperconError, arguments: argparse.Namespace) -> str:
    """An error about ``batch_size`` is, to someone at a shell, one about ``--batch-size``."""
    first, _, rest = str(error).partition(" ")
    if first in vars(arguments):
        return f"--{first.replace('_', '-')} {rest}"
    return f"--data {error}" if isinstance(error, DataError) and "data" in vars(arguments) else str(error)
