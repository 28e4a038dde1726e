"""What the dashboards have in common: choices, links, limits."""

from monitoring.dashboards.panels import Link, Variable
from monitoring.dashboards.selectors import state

TAG = "mlmon"
DATA_SOURCE_UID = "prometheus"
MLMON_URL = "http://localhost:8000"

JOB = Variable("job", "Job", "label_values(ml_collector_success, job)")
INSTANCE = Variable("instance", "Instance", 'label_values(ml_collector_success{job=~"$job"}, instance)')
MODEL_NAME = Variable("model_name", "Model", 'label_values(ml_model_info{job=~"$job"}, model_name)')
MODEL_VERSION = Variable(
    "model_version", "Version", 'label_values(ml_model_info{job=~"$job", model_name=~"$model_name"}, model_version)'
)
OF_MODELS = (JOB, MODEL_NAME)
OF_VERSIONS = (JOB, MODEL_NAME, MODEL_VERSION)
OF_MACHINES = (JOB, INSTANCE)

MODEL_PAGE = Link("Open in mlmon", "${mlmon_url}/go/models/${__field.labels.model_name}")
VERSION_PAGE = Link(
    "Open in mlmon", "${mlmon_url}/go/models/${__field.labels.model_name}/versions/${__field.labels.model_version}"
)
FEATURE_PAGE = Link(
    "What changed",
    "${mlmon_url}/go/models/${__field.labels.model_name}/drift?feature=${__field.labels.feature_name:percentencode}",
)
DRIFT_PAGE = Link("What changed", "${mlmon_url}/go/models/${__field.labels.model_name}/drift")

INCIDENTS = ("Open drift incident", f"{state('ml_drift_incident_open')} == 1")
FAILED = 'status="error"'
ANSWERED = 'status!="rejected"'
IN_PRODUCTION = 'stage="production"'
GREEN_RED = ((None, "green"), (1.0, "red"))

# The limits of the alerts (monitoring/prometheus/rules/alerts.yml).
SLOW_SECONDS = 0.5
MOST_ERRORS = 0.05
LEAST_CONFIDENCE = 0.6
STALE_SECONDS = 600.0
