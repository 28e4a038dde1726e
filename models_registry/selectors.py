"""What other apps read of the registry."""

import functools

from models_registry import profile
from models_registry.models import ReferenceDataset
from models_registry.profile import ReferenceProfile


def active_reference(version_id: int) -> ReferenceDataset | None:
    """Return the reference that drift checks of the version use, or None."""
    return ReferenceDataset.objects.filter(version_id=version_id, is_active=True).first()


def load_profile(reference: ReferenceDataset) -> ReferenceProfile:
    """Return the profile of a ready reference; the process keeps the last few, as a profile never changes."""
    return _profile_in(reference.profile_file.name)


@functools.lru_cache(maxsize=32)
def _profile_in(name: str) -> ReferenceProfile:
    with ReferenceDataset.profile_file.field.storage.open(name) as content:
        return profile.from_bytes(content.read())
