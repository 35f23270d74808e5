"""What `import hypercon` costs over `import numpy`: ``python tests/benchmarks/import_time.py``.

A new process each time, the two measured in turn; the first, which compiles, is left out. Medians of 20.
"""

import os
import statistics
import subprocess
import sys

CODE = (
    "import time; start = time.perf_counter(); import numpy; middle = time.perf_counter(); import hypercon; "
    "print(middle - start, time.perf_counter() - middle)"
)


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    rounds = [
        [float(seconds) for seconds in subprocess.check_output([sys.executable, "-c", CODE], env=environment).split()]
        for _ in range(21)
    ]
    numpy, hypercon = (statistics.median(column) * 1e3 for column in zip(*rounds[1:], strict=True))
    print(f"numpy {numpy:.1f} ms, hypercon {hypercon:.1f} ms more")


if __name__ == "__main__":
    main()
