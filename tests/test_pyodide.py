"""In a browser's Python: the built wheel imports in Pyodide, passes its own checks there, trains, and says the same.

Opt-in: `pytest -m pyodide`, with Node, and with HYPERCON_PYODIDE naming a folder that holds a whole distribution of
Pyodide, NumPy and matplotlib in it (`pyodide.mjs`, `pyodide-lock.json` and the wheels it names). Nothing is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tqdm

ROOT = Path(__file__).parents[1]
PYODIDE = os.environ.get("HYPERCON_PYODIDE", "")
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.pyodide,
    pytest.mark.skipif(not (PYODIDE and NODE), reason="needs Node, and HYPERCON_PYODIDE naming a Pyodide distribution"),
]

# what is run there and here; it leaves a dictionary called `seen`
WORK = """
import sys
import numpy as np
import hypercon as hc
from hypercon.testing import check_contrastive_loss, gradcheck

rng = np.random.default_rng(0)
z1, z2 = rng.normal(size=(24, 8)), rng.normal(size=(24, 8))
gradcheck(lambda a, b: hc.info_nce(a, b, temperature=0.2), z1, z2)
report = check_contrastive_loss(hc.info_nce, cases=4)
laid_open = hc.explain(z1, z2, temperature=0.2)
train = hc.data.load("digits")
encoder, views = hc.nn.mlp(train.images.shape[1:], widths=(32,), dim=8, rng=rng), hc.data.mild(window=0.8)
history = hc.fit(encoder, train.images[:256], loss="info_nce", temperature=0.2, epochs=2, batch_size=128,
                 optimizer=hc.optim.Adam(encoder.parameters(), 2e-3), augment=views, rng=rng)
seen = {
    "platform": sys.platform,
    "loss": hc.info_nce(z1, z2, temperature=0.2),
    "errors": {name: float(error) for name, error in laid_open.verify().items()},
    "report": str(report),
    "page": len(laid_open._repr_html_()),
    "trained": float(history.losses[-1]),
}
"""

RUN = """
import { readFileSync } from "fs";
const [folder, wheel, work] = process.argv.slice(2);
const { loadPyodide } = await import(folder + "/pyodide.mjs");
const python = await loadPyodide({ indexURL: folder + "/" });
await python.loadPackage(["numpy", "matplotlib", "threadpoolctl"], { messageCallback: () => {} });
python.FS.writeFile("/tmp/hypercon.zip", readFileSync(wheel));
python.runPython("import sys; sys.path.insert(0, '/tmp/site'); import zipfile; "
  + "zipfile.ZipFile('/tmp/hypercon.zip').extractall('/tmp/site')");
try {
  await python.runPythonAsync(readFileSync(work, "utf8"));
} catch (error) {
  console.log("FAILED " + error.message);
  process.exit(0);
}
console.log("SEEN " + python.runPython("import json; json.dumps(seen)"));
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pyodide")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:  # a dependency in pure Python, which a distribution may lack
        for path in Path(tqdm.__file__).parent.rglob("*.py"):
            archive.write(path, f"tqdm/{path.relative_to(Path(tqdm.__file__).parent)}")
    script, work = folder / "run.mjs", folder / "work.py"
    script.write_text(RUN)
    work.write_text(WORK)
    command = [NODE, script, str(Path(PYODIDE).resolve()), wheel, work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "FAILED" not in done.stdout, done.stdout[-4000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("SEEN "))
    return json.loads(line.removeprefix("SEEN "))


def test_it_is_the_browsers_python(seen):
    assert seen["platform"] == "emscripten"


def test_gradients_and_explanations_hold_there(seen):
    assert all(error < 1e-6 for error in seen["errors"].values())
    assert seen["page"] > 1000


def test_it_says_what_it_says_here(seen):
    here = {}
    exec(compile(WORK, "work", "exec"), here)
    assert seen["loss"] == pytest.approx(here["seen"]["loss"], rel=1e-12)
    assert seen["report"] == here["seen"]["report"]
    # training adds up in another order there, so it agrees to float32's digits
    assert seen["trained"] == pytest.approx(here["seen"]["trained"], rel=1e-3)
