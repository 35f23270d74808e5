"""The site: it builds offline without a warning; every page opens without complaint, in narrow windows and in the dark.

Run with ``pytest -m site``, after ``pip install ".[docs]"`` and with Chromium, an apt package.
"""

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.site
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, an apt package")

LISTEN = b"""<script>
window.complaints = [];
window.addEventListener("error", (e) => complaints.push(String(e.message || e.target.src || e.target.href)), true);
console.error = console.warn = (...words) => { complaints.push(words.join(" ")); };
</script>"""

VISIT = """<!doctype html><html><body><pre id="seen"></pre><script>
const pages = PAGES, seen = {};
async function visit(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.src = page;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  await new Promise((done) => setTimeout(done, 150));
  const inside = frame.contentWindow, root = frame.contentDocument;
  const found = {
    complaints: inside.complaints,
    wide: root.documentElement.scrollWidth - width,
    requests: inside.performance.getEntriesByType("resource").map((r) => r.name),
  };
  const slider = root.querySelector("[data-part='slider']");
  if (slider) {
    const before = root.querySelector(".hc").dataset.found;
    slider.value = 3;
    slider.dispatchEvent(new Event("input"));
    found.slid = root.querySelector(".hc").dataset.found !== before;
  }
  if (page.startsWith("search.html")) {
    for (let i = 0; i < 40 && !root.querySelector("#search-results li"); i++)
      await new Promise((done) => setTimeout(done, 100));
    found.hits = root.querySelectorAll("#search-results li").length;
  }
  root.body.dataset.theme = "dark";
  const colour = (what) => inside.getComputedStyle(what).color.match(/[0-9.]+/g).map(Number);
  const ground = inside.getComputedStyle(root.body).backgroundColor.match(/[0-9.]+/g).map(Number);
  found.dark = [colour(root.querySelector("article h1") || root.body), ground];
  frame.remove();
  return found;
}
(async () => {
  for (const page of pages) seen[page] = { wide: await visit(page, 1100), narrow: await visit(page, 400) };
  document.getElementById("seen").textContent = JSON.stringify(seen);
})();
</script></body></html>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    for name in ("docs", "tutorials", "tests"):
        if (ROOT / name).exists():
            unbuilt = shutil.ignore_patterns("_build", "__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=unbuilt)
    for name in ("README.md", "CONTRIBUTING.md", "hypercon"):
        (source / name).symlink_to(ROOT / name)
    quiet = ["-q", "-W", "--keep-going", "-d", folder / "doctrees"]
    command = [sys.executable, "-m", "sphinx", *quiet, source / "docs", folder / "html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def pages_of(site):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_modules" not in path.parts)


class Links(HTMLParser):
    """The targets of a page's links, and the places in it that others may point at."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.places = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.places |= {named[key] for key in ("id", "name") if key in named}
        if tag == "a" and "href" in named:
            self.targets.append(named["href"])
        if tag in ("img", "script") and "src" in named:
            self.targets.append(named["src"])
        if tag == "link" and named.get("rel") == "stylesheet":
            self.targets.append(named["href"])


def test_every_link_within_the_site_leads_somewhere(site):
    read = functools.cache(lambda path: Links(path.read_text()))
    broken, checked = [], 0
    for page in sorted(site.rglob("*.html")):
        for target in read(page).targets:
            if urlsplit(target).scheme in ("http", "https", "mailto", "data"):
                continue
            file, place = urldefrag(target)
            there = (page.parent / unquote(file.partition("?")[0])).resolve() if file else page
            checked += 1
            if not there.exists() or (there.suffix == ".html" and unquote(place) not in read(there).places):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert checked > 1000
    assert broken == []


@pytest.fixture(scope="module")
def visited(site):
    """What a browser saw on every page, wide, narrow and dark."""
    pages = [*pages_of(site), "search.html?q=temperature"]

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            path = urlsplit(self.path).path
            if path == "/visit":
                return self.answer(VISIT.replace("PAGES", json.dumps(pages)).encode())
            if path.endswith(".html") and (site / path.lstrip("/")).exists():
                return self.answer((site / path.lstrip("/")).read_bytes().replace(b"<head>", b"<head>" + LISTEN, 1))
            return super().do_GET()

        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=600000",
            "--dump-dom",
        ]
        dom = subprocess.run(
            [*command, address + "/visit"], capture_output=True, text=True, timeout=500, check=True
        ).stdout
    finally:
        server.shutdown()
        server.server_close()
    found = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL).group(1)))
    assert set(found) == set(pages)
    return address, found


@in_a_browser
def test_no_page_complains_or_asks_another_host(visited):
    address, found = visited
    for page, seen in found.items():
        for way in seen.values():
            assert way["complaints"] == [], page
            assert [name for name in way["requests"] if not name.startswith((address, "data:"))] == [], page


@in_a_browser
def test_every_page_fits_a_window_of_400_pixels(visited):
    assert {page: seen["narrow"]["wide"] for page, seen in visited[1].items() if seen["narrow"]["wide"] > 0} == {}


@in_a_browser
def test_every_page_is_light_on_dark_when_asked(visited):
    for page, seen in visited[1].items():
        text, ground = (sum(colour[:3]) / 3 for colour in seen["wide"]["dark"])
        assert text > 180, page
        assert ground < 60, page


@in_a_browser
def test_the_start_page_shows_the_temperature_and_it_moves(visited):
    assert visited[1]["index.html"]["wide"]["slid"]
    assert visited[1]["index.html"]["narrow"]["slid"]


@in_a_browser
def test_the_search_finds(visited):
    assert visited[1]["search.html?q=temperature"]["wide"]["hits"] > 3
