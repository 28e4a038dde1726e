"""The use cases of monitoring: the platform's own jobs, and how right the models are."""

from monitoring.services.jobs import note_job_finished as note_job_finished
from monitoring.services.jobs import note_job_started as note_job_started
from monitoring.services.performance import baseline_of as baseline_of
from monitoring.services.performance import measure_due_versions as measure_due_versions
from monitoring.services.performance import performance_between as performance_between
