"""The seven dashboards: what each shows, and why somebody would look."""

from monitoring.dashboards.boards.confidence import confidence
from monitoring.dashboards.boards.drift import drift
from monitoring.dashboards.boards.itself import itself
from monitoring.dashboards.boards.overview import overview
from monitoring.dashboards.boards.performance import performance
from monitoring.dashboards.boards.resources import resources
from monitoring.dashboards.boards.traffic import traffic

ALL = (overview(), performance(), traffic(), drift(), confidence(), resources(), itself())
