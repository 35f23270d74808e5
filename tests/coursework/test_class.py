"""A class of 200: honest, mistaken, hostile and unreadable submissions, graded in one call.

    python -m pytest tests/coursework/test_class.py -m slow -s

prints how long it took, how many a second, and which layers stood.
"""

import json
import sys
import zipfile
from pathlib import Path

import pytest
from coursework.hostile import CHEATS

from hypercon import cli

SOLUTION = (Path(__file__).parents[2] / "tutorials/coursework/a2.py").read_text()
HANG = ("half a frame", "sleep", "loops", "all memory", "floods")
MISTAKES = {
    "exp(-logits)": ("np.exp(", "np.exp(-"),
    "no mean": (".mean()", ".sum()"),
    "other axis": ("axis=1", "axis=0"),
    "multiplies": ("/ temperature", "* temperature"),
    "sign": ("return ", "return -1 * "),
    "undone": ("    # BEGIN SOLUTION\n", "    raise NotImplementedError\n    # BEGIN SOLUTION\n"),
}
UNREADABLE = {
    "empty.py": b"",
    "huge.py": b"#" * (1 << 21),
    "binary.py": b"\x7fELF\0\1\2",
    "latin.py": "# Müller\n".encode("latin-1"),
    "syntax.py": b"def info_nce(z1, z2 temperature):\n    return 0\n",
    "essay.txt": b"my answers",
    "broken.zip": b"PK\3\4",
}


def make_class(folder):
    """200 submissions, and who of them is what."""
    kinds = {}
    for i in range(80):
        name = f"honest-{i:03}"
        source = f"# {name}\n{SOLUTION}"
        if i % 4 == 0:
            with zipfile.ZipFile(folder / f"{name}.zip", "w") as packed:
                packed.writestr("work/a2.py", source)
        elif i % 4 == 1:
            (folder / name).mkdir()
            (folder / name / "a2.py").write_text(source)
        else:
            (folder / f"{name}.py").write_text(source)
        kinds[name] = "honest"
    for i in range(60):
        name = f"mistaken-{i:03}"
        old, new = list(MISTAKES.values())[i % len(MISTAKES)]
        (folder / f"{name}.py").write_text(SOLUTION.replace(old, new, 1 + i % 3))
        kinds[name] = "mistaken"
    tricks = [cheat for name, cheat in CHEATS.items() if not any(word in name for word in HANG)]
    for i in range(46):
        name = f"hostile-{i:03}"
        (folder / f"{name}.py").write_bytes(tricks[i].source.replace(b"PORT", b"9"))
        kinds[name] = "hostile"
    for i in range(14):
        file, content = list(UNREADABLE.items())[i % len(UNREADABLE)]
        (folder / f"{i:03}-{file}").write_bytes(content)
        name = f"{i:03}-{file}"
        kinds[name if file.endswith(".txt") else name.rpartition(".")[0]] = "unreadable"
    return kinds


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="submissions are graded on Linux")
def test_a_class_of_200_is_graded_in_one_call(tmp_path, capsys):
    folder, out = tmp_path / "class", tmp_path / "out"
    folder.mkdir()
    kinds = make_class(folder)
    assert len(kinds) == 200
    assert cli.main(["grade", "a2", str(folder), "--seed", "1", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    told = json.loads((out / "grades.json").read_text())
    with capsys.disabled():
        print("\n" + said[said.index("200 graded") :] + f"{200 / told['seconds']:.2f} submissions a second")
    found = {one["name"]: one for one in told["submissions"]}
    assert set(found) == set(kinds)
    for name, one in found.items():
        assert one["judged"]
        match kinds[name]:
            case "honest":
                assert one["score"] == one["points"], name
            case "mistaken":
                assert one["score"] < one["points"], name
            case "hostile":
                assert one["score"] == 0, name
            case "unreadable":
                assert one["score"] == 0, name
                assert one["reason"], name
    assert len(list((out / "students").iterdir())) == 200
