"""The periodic jobs."""

from django.db import models


class JobRun(models.Model):
    """The latest run of a periodic job, by its task name."""

    job_name = models.CharField(max_length=255, unique=True)
    last_started_at = models.DateTimeField()
    last_success_at = models.DateTimeField(null=True)
    last_duration_seconds = models.FloatField(null=True)
    last_error = models.TextField(blank=True)
    runs = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["job_name"]

    def __str__(self) -> str:
        return self.job_name
