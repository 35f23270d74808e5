"""``python -m hypercon`` is ``hypercon``."""

import sys

from hypercon.cli import main

sys.exit(main())
