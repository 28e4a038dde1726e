"""What people see of monitoring in the admin."""

from monitoring.admin import incident_panel as incident_panel
from monitoring.admin import jobs as jobs
from monitoring.admin import third_party as third_party
from monitoring.admin import version_panel as version_panel
