from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "rollouts"
    verbose_name = "Rollouts"

    def ready(self) -> None:
        from inference.rollout_counts import set_rule_source
        from models_registry.services.versions import version_is_archived
        from rollouts.api import errors as errors  # registers the HTTP statuses of the errors
        from rollouts.selectors import active_rules, refuse_archiving

        set_rule_source(active_rules)
        version_is_archived.connect(refuse_archiving, dispatch_uid="rollouts.refuse_archiving")
