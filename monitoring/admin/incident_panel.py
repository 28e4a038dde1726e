"""Performance on the page of a drift incident."""

from drift.admin.incident_page import Panel, register_panel
from drift.models import DriftIncident
from monitoring.pages.meanwhile import meanwhile_context


@register_panel
def performance_meanwhile(incident: DriftIncident) -> Panel:
    """Return what happened to performance meanwhile."""
    return Panel(
        "performance", "Performance meanwhile", "monitoring/meanwhile.html", context=meanwhile_context(incident)
    )
