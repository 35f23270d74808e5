"""The page of an explanation, opened in a browser: its numbers are the library's, and it needs nothing but itself."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import InputError
from hypercon.explain import anatomy, page
from hypercon.explain.page import PRESETS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, an apt package")]

KINDS = {"info_nce": {}, "nt_xent": {}, "dcl": {}, "hard_info_nce": {"k": 5}, "hard_simple": {"k": 5}}

BEFORE = """<script>
window.complaints = [];
window.onerror = (message) => { complaints.push(String(message)); };
console.error = console.warn = (...words) => { complaints.push(words.join(" ")); };
</script>"""
AFTER = """<pre id="seen"></pre><script>
const root = document.querySelector(".hc");
const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
const part = (name) => root.querySelector("[data-part='" + name + "']");
const seen = { first: JSON.parse(root.dataset.found), stops: [], taus: data.taus };
for (const anchor of [0, data.anchors.length - 1]) {
  for (let stop = 0; stop < data.taus.length; stop += 7) {
    root.hypercon.show(stop, anchor);
    seen.stops.push(Object.assign({ anchor, row: data.anchors[anchor], batch: part("batch-loss").textContent,
      effective: part("batch-effective").textContent }, JSON.parse(root.dataset.found)));
  }
}
root.querySelector("[data-part='preset']").click();
seen.preset = JSON.parse(root.dataset.found).tau;
part("slider").value = 3;
part("slider").dispatchEvent(new Event("input"));
seen.slid = JSON.parse(root.dataset.found).tau;
const second = root.querySelectorAll("[data-part='bar']")[1];
second.focus();
if (!document.hasFocus()) second.dispatchEvent(new Event("focus")); // a page that has no focus yet tells no element
seen.readout = part("readout").textContent;
seen.hidden = root.querySelectorAll("[hidden]").length;
seen.requests = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
seen.complaints = complaints;
document.getElementById("seen").textContent = JSON.stringify(seen);
</script>"""


def explained(name="info_nce", count=24, labels=True, tau=0.2, dim=4):
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(count, dim))
    z2 = z1 + 0.7 * rng.normal(size=z1.shape)
    classes = np.arange(count) % 3 if labels else None
    return hc.explain(z1, z2, temperature=tau, labels=classes, loss=name, **KINDS[name])


def opened(path):
    """The page's DOM after its scripts have run, and what the script at its end saw."""
    text = path.read_text().replace("<head>", "<head>" + BEFORE, 1).replace("</body>", AFTER + "</body>")
    probe = path.with_name("probe.html")
    probe.write_text(text)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    dom = subprocess.run([*command, probe.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    return dom, json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL).group(1)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("labels", [True, False])
class TestInTheBrowser:
    pytestmark = in_a_browser

    def test_its_numbers_are_the_librarys_at_every_temperature(self, name, labels, tmp_path):
        e = explained(name, labels=labels)
        e.to_html(tmp_path / "page.html", anchor=5)
        _, seen = opened(tmp_path / "page.html")
        assert seen["complaints"] == seen["requests"] == []
        assert seen["hidden"] == 0
        assert seen["first"]["tau"] == 0.2
        assert seen["first"]["loss"] == pytest.approx(e.per_anchor[5], abs=1e-9)
        for found in seen["stops"]:
            there = e.at(found["tau"])
            row = found["row"]["row"] + (24 if found["row"]["name"].endswith("view 2") else 0)
            negatives = np.flatnonzero(there.is_negative[row])
            order = negatives[np.argsort(-there.similarities[row, negatives], kind="stable")]
            np.testing.assert_allclose(found["weights"], there.hardness[row, order], atol=1e-9)
            assert found["loss"] == pytest.approx(there.per_anchor[row], abs=1e-9)
            assert found["entropy"] == pytest.approx(there.entropy[row], abs=1e-9)
            assert found["coupling"] == pytest.approx(there.coupling[row], abs=1e-9)
            assert found["batch"] == f"{there.loss:.4f}"
            assert found["effective"] == f"{there.effective_negatives.mean():.1f} of {there.negatives}"
            if labels:
                assert found["same"] == pytest.approx(there.false_negative_share[row], abs=1e-9)

    def test_it_is_worked_by_presets_slider_and_focus(self, name, labels, tmp_path):
        explained(name, labels=labels).to_html(tmp_path / "page.html")
        dom, seen = opened(tmp_path / "page.html")
        assert seen["preset"] == PRESETS[0]
        assert seen["slid"] == seen["taus"][3]
        assert "of the push" in seen["readout"]
        assert dom.count('tabindex="0"') == 20


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("block", [1, 100, None])
def test_what_the_page_says_of_the_batch_is_the_librarys_however_it_is_cut(name, block, monkeypatch):
    if block:
        monkeypatch.setattr(anatomy, "BLOCK", block)
    e, taus = explained(name), (0.03, 0.2, 1.5)
    over = e._over(taus)
    for i, there in enumerate(map(e.at, taus)):
        assert over["loss"][i] == pytest.approx(there.loss, rel=1e-12)
        assert over["floor"][i] == there.floor
        assert over["entropy"][i] == pytest.approx(there.entropy.mean(), rel=1e-12)
        assert over["effective_negatives"][i] == pytest.approx(there.effective_negatives.mean(), rel=1e-12)
        assert over["coupling"][i] == pytest.approx(there.coupling.mean(), rel=1e-12)
        assert over["false_negative_share"][i] == pytest.approx(there.false_negative_share.mean(), rel=1e-12)


def test_a_still_frame_stands_without_a_script(tmp_path):
    e = explained(tau=0.07)
    e.to_html(tmp_path / "page.html", anchor=3)
    still = re.sub(r"<script.*?</script>", "", (tmp_path / "page.html").read_text(), flags=re.DOTALL)
    assert "temperature 0.07" in still
    assert f"{e.per_anchor[3]:.4f}" in still
    assert f"{100 * e.hardest(3, 1)[0][2]:.1f} %" in still
    assert still.count("<circle") == 23


def test_bars_are_drawn_to_the_largest_and_say_how_much_it_is():
    e = explained(tau=1.0, count=60)
    shown = e._repr_html_()
    widths = re.findall(r'<rect class="fill (?:same|other)" x="120" y="4" width="([^"]+)"', shown)
    weights = [share for _, _, share in e.hardest(0, 20)]
    assert [float(width) for width in widths] == pytest.approx([256 * w / weights[0] for w in weights], abs=0.01)
    assert f'The longest bar is <span data-part="longest-bar">{100 * weights[0]:.2f} %</span>' in shown


@pytest.mark.parametrize(
    ("classes", "name"), [(None, "class 0 #0"), (["0", "1", "2"], "class 0 #0"), (["cat", "dog", "3D"], "cat #0")]
)
def test_an_anchor_is_called_by_its_class_whether_that_has_a_name_or_a_number(classes, name):
    assert f">{name}</option>" in page.page(explained(), anchor=0, images=None, classes=classes)


def test_every_label_is_escaped_and_nothing_leaves_the_page(tmp_path):
    explained().to_html(tmp_path / "page.html", classes=["</script><script>alert(1)</script>", "<b>", "c"])
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert "<b>" not in text.replace("<body>", "")
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|https?://""", text)


def test_a_hard_loss_keeps_its_negatives_where_their_weights_have_vanished():
    """At a temperature of 1e-4 only the hardest has a weight that is not 0; the cut and chance do not follow it."""
    cold, warm = (explained("hard_info_nce", tau=tau) for tau in (1e-4, 0.5))
    assert (cold.hardness > 0).sum() < (warm.hardness > 0).sum()
    assert cold.chance == warm.chance == pytest.approx(np.log(6))
    cut = [re.search(r'"cut": ([^,]+),', e._repr_html_()).group(1) for e in (cold, warm)]
    assert cut[0] == cut[1]


@pytest.mark.parametrize("shape", [(24, 5, 5), (24, 1, 5, 5), (24, 3, 5, 5)])
def test_an_anchor_and_its_hardest_negatives_are_shown_as_pictures(shape, tmp_path):
    e = explained()
    e.to_html(tmp_path / "page.html", images=np.random.default_rng(0).random(shape))
    assert (tmp_path / "page.html").read_text().count("<img") == 8


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((23, 5, 5)), r"images got shape \(23, 5, 5\), expected \(24, H, W\)"),
        (np.zeros((24, 2, 5, 5)), "with 1 or 3 channels"),
        (np.full((24, 5, 5), 2.0), r"images got values outside \[0, 1\]"),
        (np.full((24, 5, 5), np.nan), r"images got values outside \[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_are_refused_and_no_file_is_left(images, message, tmp_path):
    with pytest.raises(InputError, match=message):
        explained().to_html(tmp_path / "page.html", images=images)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_the_same_page_as_a_fragment():
    shown = explained()._repr_html_()
    assert shown.startswith("<style>")
    assert "<html" not in shown
    assert shown == explained()._repr_html_()


def test_a_large_batch_says_what_is_drawn_and_keeps_its_totals():
    shown = explained(count=500)._repr_html_()
    assert "The 400 hardest of 499 are drawn." in shown
    assert shown.count("<circle") == 400


@pytest.mark.parametrize(
    "call", [lambda e: e.plot(24), lambda e: e.to_html("x.html", anchor=-25), lambda e: e.plot(0.5)]
)
def test_anchors_that_there_are_not_are_refused(call):
    with pytest.raises(InputError, match=r"anchor got .*, expected 0 to 23"):
        call(explained())


@pytest.mark.parametrize(("dim", "panels"), [(2, 6), (3, 6), (4, 4)])
@pytest.mark.parametrize("labels", [True, False])
def test_the_picture_has_matrices_weights_and_forces_where_they_can_be_drawn(dim, panels, labels):
    figure = explained(dim=dim, labels=labels).plot(1)
    figure.canvas.draw()
    assert len([ax for ax in figure.axes if ax.get_title()]) == panels


@pytest.mark.parametrize("name", KINDS)
def test_the_picture_can_be_drawn_for_every_loss(name):
    explained(name).plot().canvas.draw()
