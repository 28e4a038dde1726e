"""How many tasks wait for a Celery worker, asked of the broker at each scrape."""

import logging
from collections.abc import Iterator

import redis
from django.conf import settings
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

QUEUE = "celery"  # Celery's default, and the only one that mlmon uses
TIMEOUT_SECONDS = 1.0


class TaskQueueCollector(Collector):
    """The length of the queue; absent while Redis does not answer."""

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "ml_task_queue_length", "Tasks that wait for a worker; absent while Redis is away.", labels=["queue_name"]
        )
        try:
            with redis.Redis.from_url(
                settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
            ) as client:
                family.add_metric([QUEUE], float(client.llen(QUEUE)))
        except redis.RedisError as error:
            logger.debug("No queue length: %s", error)
        yield family

    def describe(self) -> list[Metric]:
        return []
