"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_prints_what_the_readme_says_but_for_rounding():
    code, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    assert len(code.splitlines()) <= 15
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert _without_numbers(ran.stdout) == _without_numbers(shown)
    for got, expected in zip(_numbers(ran.stdout), _numbers(shown), strict=True):
        assert abs(got - expected) <= 0.25 * abs(expected) + 0.05  # another processor trains another encoder


def test_the_links_lead_somewhere():
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (root / target).exists(), target


_NUMBER = r"-?\d+(?:\.\d+)?"


def _numbers(text):
    return [float(number) for number in re.findall(_NUMBER, text)]


def _without_numbers(text):
    return re.sub(r"\s+", " ", re.sub(_NUMBER, "#", text))
