"""The project as a Django app: its management commands, and the Celery application that tasks bind to."""

from django.apps import AppConfig

from mlmon_site import celery as celery  # `shared_task` needs an application in every process, web ones too


class MlmonSiteConfig(AppConfig):
    name = "mlmon_site"
    verbose_name = "mlmon"

    def ready(self) -> None:
        from mlmon_site import checks as checks  # registers them
