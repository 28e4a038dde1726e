"""The project as a Django app, with its management commands and the Celery application."""

from django.apps import AppConfig

from mlmon_site import celery as celery  # `shared_task` needs it in every process, including the web server's


class MlmonSiteConfig(AppConfig):
    name = "mlmon_site"
    verbose_name = "mlmon"

    def ready(self) -> None:
        from mlmon_site import checks as checks  # registers them
