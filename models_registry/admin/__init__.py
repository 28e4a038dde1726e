"""The registry in the admin."""

from models_registry.admin import models as models
from models_registry.admin import references as references
from models_registry.admin import versions as versions
