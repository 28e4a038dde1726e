"""The registered pages of the admin."""

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import Model


def model_admins() -> dict[type[Model], "ModelAdmin[Model]"]:
    """Return the admin of every registered model, by model."""
    return {model: admin.site.get_model_admin(model) for model in apps.get_models() if admin.site.is_registered(model)}


def page_names() -> list[str]:
    """Return the names of all pages, as their URLs begin: "app_model"."""
    return sorted(f"{model._meta.app_label}_{model._meta.model_name}" for model in model_admins())
