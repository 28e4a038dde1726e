from django.apps import AppConfig


class PerformanceConfig(AppConfig):
    name = "performance"
    verbose_name = "Performance"

    def ready(self) -> None:
        from inference.services.archiving import observations_archived
        from performance.services.ground_truth import join_archived

        observations_archived.connect(join_archived, dispatch_uid="performance.join_archived")
