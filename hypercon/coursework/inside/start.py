"""Where the worker's interpreter begins: it reads the plan, forgets where it came from, and goes behind the walls."""

from __future__ import annotations

import json
import sys
from functools import partial

from .jail import keep
from .serve import serve


def main() -> None:
    """Run the plan given on the command line."""
    plan = json.loads(sys.argv.pop())
    sys.path.remove(plan["folder"])
    sys.argv[:] = ["submission.py"]
    keep(plan, partial(serve, plan["requests"], plan["answers"]))
