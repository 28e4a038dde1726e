"""The use cases of drift: one check, an answer before the first check, the bound of the live windows."""

from drift.services.checking_by_hand import check_by_hand as check_by_hand
from drift.services.checks import run_drift_check as run_drift_check
from drift.services.incidents import acknowledge_incident as acknowledge_incident
from drift.services.incidents import close_incident as close_incident
from drift.services.incidents import (
    close_incidents_of_archived_versions as close_incidents_of_archived_versions,
)
from drift.services.incidents import snooze_incident as snooze_incident
from drift.services.live_windows import trim_live_windows as trim_live_windows
from drift.services.preview import latest_or_live_drift as latest_or_live_drift
from drift.services.preview import without_production_version as without_production_version
from drift.services.rebaselining import make_window_the_reference as make_window_the_reference
