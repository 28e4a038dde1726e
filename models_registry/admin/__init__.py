"""The registry in the admin."""

from models_registry.admin import versions as versions
