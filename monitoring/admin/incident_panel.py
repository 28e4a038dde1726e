"""Performance on the page of a drift incident."""

from accounts.admin.page_parts import Panel
from drift.admin.incident_page import incident_panels
from drift.models import DriftIncident
from monitoring.pages.meanwhile import meanwhile_context


@incident_panels.register
def performance_meanwhile(incident: DriftIncident) -> Panel:
    """Return what happened to performance meanwhile."""
    return Panel(
        "performance", "Performance meanwhile", "monitoring/meanwhile.html", context=meanwhile_context(incident)
    )
