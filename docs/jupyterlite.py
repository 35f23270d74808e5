"""The lessons in a browser, with nothing to install: `python docs/jupyterlite.py OUT`, then serve OUT to a browser.

Needs ``pip install jupyterlite-core==0.6.4 jupyterlite-pyodide-kernel==0.6.1 jupyter-server "hypercon[notebooks]"``.
The page fetches Pyodide from its makers' servers when it is opened. With ``--pyodide FILE.tar.bz2``, a distribution
with NumPy and matplotlib that matches the kernel (0.27 matches 0.6), it is packed into OUT; no other host is asked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from hypercon.coursework.editions import notebook, without_solutions

ROOT = Path(__file__).parents[1]
FIRST = "# %%\n# in a browser's Python, packages are installed anew each time\n%pip install -q hypercon\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="a new folder for the site")
    parser.add_argument("--pyodide", type=Path, help="an archive of a Pyodide distribution to pack into it")
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} is there already: name a new folder")
    pyodide = ["--pyodide", arguments.pyodide.resolve()] if arguments.pyodide else []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "content").mkdir()
        for source in sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py")):
            text = FIRST + without_solutions(source.read_text())
            (work / "content" / f"{source.stem}.ipynb").write_text(notebook(text))
        pip = [sys.executable, "-m", "pip"]
        subprocess.run([*pip, "wheel", "-q", "--no-deps", "--wheel-dir", work / "wheels", ROOT], check=True)
        # pure-Python packages that a distribution may lack: the kernel waits for ever without comm
        subprocess.run([*pip, "download", "-q", "--no-deps", "-d", work / "wheels", "comm==0.2.3", "tqdm"], check=True)
        wheels = sorted(str(path.relative_to(work)) for path in (work / "wheels").glob("*.whl"))
        (work / "jupyter_lite_config.json").write_text(json.dumps({"PipliteAddon": {"piplite_urls": wheels}}))
        build = ["jupyter", "lite", "build", "--contents", "content", "--output-dir", arguments.out.resolve(), *pyodide]
        subprocess.run(build, cwd=work, check=True)
    print(f"built: python -m http.server --directory {arguments.out}, then open lab/index.html?path=03_infonce.ipynb")


if __name__ == "__main__":
    main()
