"""The use cases of drift: one check, an answer before the first check, the bound of the live windows."""

from drift.services.checks import run_drift_check as run_drift_check
from drift.services.live_windows import trim_live_windows as trim_live_windows
from drift.services.preview import latest_or_live_drift as latest_or_live_drift
from drift.services.preview import without_production_version as without_production_version
