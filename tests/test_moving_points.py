"""Points in motion: a still frame that is the last moment, and a page that needs nothing but itself."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from hypercon.errors import InputError
from hypercon.explain.motion import moving_points
from hypercon.palette import CLASS_COLOURS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

BEFORE = """<script>
window.complaints = [];
window.onerror = (message) => { complaints.push(String(message)); };
console.error = console.warn = (...words) => { complaints.push(words.join(" ")); };
</script>"""
AFTER = """<pre id="seen"></pre><script>
const root = document.querySelector(".motion");
const part = (name) => root.querySelector("[data-part='" + name + "']");
const places = () => Array.from(root.querySelectorAll("[data-part='point']")).map((p) => [
  Number(p.getAttribute("cx")), Number(p.getAttribute("cy")), Number(p.getAttribute("r"))]);
const seen = { still: places() };
part("slider").value = 0;
part("slider").dispatchEvent(new Event("input"));
seen.first = places();
seen.value = part("value").textContent;
part("slider").value = part("slider").max;
part("slider").dispatchEvent(new Event("input"));
seen.last = places();
part("stage").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
seen.turned = places();
part("play").click();
seen.playing = part("play").textContent;
seen.requests = performance.getEntriesByType("resource").map((r) => r.name);
seen.complaints = complaints;
document.getElementById("seen").textContent = JSON.stringify(seen);
</script>"""


def spread(dim, moments=4, count=6):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(moments, count, dim))
    return points / np.linalg.norm(points, axis=2, keepdims=True)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, an apt package")
@pytest.mark.parametrize("dim", [2, 3])
def test_in_a_browser_it_shows_every_moment_turns_and_asks_for_nothing(dim, tmp_path):
    frames = spread(dim)
    moving_points(frames, "six points", values={"loss": [4, 3, 2, 1]}).to_html(tmp_path / "page.html")
    text = (
        (tmp_path / "page.html").read_text().replace("<head>", "<head>" + BEFORE).replace("</body>", AFTER + "</body>")
    )
    (tmp_path / "probe.html").write_text(text)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=500", "--dump-dom"]
    dom = subprocess.run(
        [*command, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, check=True
    ).stdout
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL).group(1)))
    assert seen["complaints"] == seen["requests"] == []
    np.testing.assert_allclose(seen["still"], seen["last"], atol=0.25)  # the library's last frame is the script's
    assert seen["value"] == "4"
    assert seen["playing"] == "pause"
    if dim == 2:
        np.testing.assert_allclose(
            np.array(seen["first"])[:, :2], 150 * frames[0] * [1, -1], atol=0.2
        )  # three decimals are carried
    moved = np.abs(np.array(seen["turned"]) - seen["last"]).max()
    assert moved > 1 if dim == 3 else moved == 0


def test_the_still_frame_has_a_description_and_a_colour_for_each_label():
    motion = moving_points(spread(3), "six <points>", labels=[0, 0, 7, 7, 9, 9])
    shown = motion._repr_html_()
    assert 'aria-label="six &lt;points&gt;"' in shown
    assert [shown.count(f'fill="{colour}"') for colour in CLASS_COLOURS[:4]] == [2, 2, 2, 0]
    assert "http" not in shown
    assert repr(motion) == "[moving points: six <points>]"


def test_many_moments_are_thinned_and_both_ends_kept():
    shown = moving_points(spread(2, moments=1000), "six points")._repr_html_()
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown).group(1))
    assert len(data["frames"]) == 120
    assert [data["moments"][0], data["moments"][-1]] == [0, 999]


@pytest.mark.parametrize(
    ("frames", "more", "said"),
    [
        (np.ones((4, 6)), {}, r"frames got shape \(4, 6\), expected \(T, N, 2\) or \(T, N, 3\)"),
        (np.ones((4, 6, 5)), {}, r"expected \(T, N, 2\) or \(T, N, 3\)"),
        (2 * spread(3), {}, r"length 2 for point 0 of frame 0, expected 1: put them onto the sphere"),
        (spread(3) * [[[1], [1], [1], [np.nan], [1], [1]]], {}, "length nan for point 3 of frame 0"),
        (spread(2, count=401), {}, "got 401 points, expected at most 400"),
        (spread(3), {"labels": [1, 2]}, r"labels got shape \(2,\), expected \(6,\)"),
        (spread(3), {"values": {"loss": [1.0]}}, r"values got shape \(1,\) for 'loss', expected 4"),
        (spread(2, count=12), {"labels": range(12)}, "labels got 12 classes, expected at most 10"),
    ],
)
def test_what_cannot_be_shown_is_refused(frames, more, said):
    more = {name: np.array(value) if name == "labels" else value for name, value in more.items()}
    with pytest.raises(InputError, match=said):
        moving_points(frames, "points", **more)


def test_it_does_not_go_without_a_description():
    with pytest.raises(InputError, match="text got nothing"):
        moving_points(spread(3), " ")
