"""The folder of a run: what an earlier one left there, what of it is taken up, and when it must not be touched.

A checkpoint holds the encoder, the settings that trained it, and what was measured. Settings that decide the weights
must all agree for it to be taken up; the other temperatures decide only what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypercon.errors import DataError, HyperconError, InputError
from hypercon.files import atomic, read_json
from hypercon.nn import Encoder, load_encoder, save_encoder

SCHEMA = 2  # of results.json, and of the notes in a checkpoint

_RESULTS, _PICTURE, _CHECKPOINTS = "results.json", "dilemma.png", "encoder-tau-*.npz"
_MAY_DIFFER = ("temperatures", "data")  # each has its own checkpoint; and a file may be moved, its checksums tell


def checkpoint(out: Path, temperature: float) -> Path:
    """The file of a temperature's encoder."""
    return out / _CHECKPOINTS.replace("*", f"{temperature:g}")


def save(path: Path, encoder: Encoder, notes: dict[str, Any]) -> None:
    """A checkpoint with ``settings``, ``temperature``, ``trained``, ``sharpnesses`` and ``measured`` as its notes."""
    save_encoder(path, encoder, {"schema": SCHEMA} | notes)


def load(
    path: Path, settings: dict[str, Any], temperature: float, say: Callable[[str], None]
) -> tuple[Encoder, dict[str, Any]] | None:
    """The encoder and the notes that an earlier run with these settings left for a temperature, if one did."""
    if not path.exists():
        return None
    try:
        encoder, notes = load_encoder(path)
    except DataError as error:
        say(f"{error}: training it anew")
        return None
    same = notes.get("temperature") == temperature and not _differences(notes, settings)
    return (encoder, notes) if same else None


def named(out: Any) -> Path:
    """The path of a folder that a caller gave a name for."""
    if not isinstance(out, str | Path) or not str(out).strip():
        raise InputError(f"out got {out!r}, expected the name of a folder such as runs/dilemma")
    return Path(out)


def make(out: Path) -> None:
    """Make the folder, and find out now, not after minutes of training, whether results can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic(out / "write-test"):
            pass
        (out / "write-test").unlink()
    except (OSError, HyperconError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"out got {str(out)!r}, a folder that cannot be written to ({reason}): choose another"
        ) from None


def check_results(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds results of other settings: they would be lost, or lie mixed with the new ones."""
    for path, notes in _left_in(out):
        if differences := _differences(notes, settings):
            raise InputError(
                f"out got {str(out)!r}, where {path.name} is of other settings ({'; '.join(differences)}): "
                f"choose another --out, or --overwrite to replace what is there (in Python overwrite=True)"
            )


def clear(out: Path, settings: dict[str, Any]) -> None:
    """Remove what an earlier run with other settings left: results, picture and checkpoints, and nothing else."""
    others = [path for path, notes in _left_in(out) if _differences(notes, settings)]
    if any(path.name == _RESULTS for path in others):
        others.append(out / _PICTURE)
    for path in others:
        path.unlink(missing_ok=True)


def left_out(out: Path, temperatures: Sequence[float]) -> list[Path]:
    """Checkpoints of other temperatures, which stay where they are."""
    wanted = {checkpoint(out, temperature) for temperature in temperatures}
    return [path for path in sorted(out.glob(_CHECKPOINTS)) if path not in wanted]


def _left_in(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Results and checkpoints in a folder with what they say of their settings; nothing of a damaged checkpoint."""
    results = out / _RESULTS
    if results.is_file():
        try:
            notes = read_json(results)
        except DataError:
            notes = None
        yield results, notes if isinstance(notes, dict) else {}
    for path in sorted(out.glob(_CHECKPOINTS)):
        try:
            yield path, load_encoder(path)[1]
        except DataError:
            continue  # it holds nothing that could be lost, and the run says so when it comes to it


def _differences(notes: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """In words, how the settings in ``notes`` differ from these; empty where results of both may lie together."""
    if notes.get("schema") != SCHEMA or not isinstance(notes.get("settings"), dict):
        return [f"schema {notes.get('schema', 'unknown')} there, {SCHEMA} now: written by another version of hypercon"]
    there = notes["settings"]
    differing = [name for name in settings if name not in _MAY_DIFFER and there.get(name) != settings[name]]
    words = [f"{name} {there.get(name)} there, {settings[name]} now" for name in differing if "sha256" not in name]
    if len(words) < len(differing):  # checksums say little to a reader
        same_name = there.get("data") == settings["data"]
        words.insert(
            0,
            f"the images or labels of {settings['data']} have changed"
            if same_name
            else f"data {there.get('data')} there, {settings['data']} now",
        )
    return words
