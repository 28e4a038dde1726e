from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"
    verbose_name = "Models"

    def ready(self) -> None:
        from models_registry.services.roles import keep_roles_after_migrate

        post_migrate.connect(keep_roles_after_migrate, sender=self, dispatch_uid="models_registry.keep_roles")
