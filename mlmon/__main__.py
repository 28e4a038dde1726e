"""``python -m mlmon compare REFERENCE CURRENT``."""

import sys

from mlmon.cli import main

sys.exit(main())
