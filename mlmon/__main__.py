"""``python -m mlmon compare REFERENCE CURRENT``."""

import sys

from mlmon.cli import main
from mlmon.closed_pipe import ignore_closed_pipes

ignore_closed_pipes()
sys.exit(main())
