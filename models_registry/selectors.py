"""What other apps read of the registry."""

import re
from pathlib import Path

import pyarrow as pa
from django.db.models import QuerySet

from mlmon import profile
from mlmon.profile import ReferenceProfile
from models_registry.exceptions import UnknownModelError, UnknownVersionError
from models_registry.models import (
    MODEL_NAME_PATTERN,
    Model,
    ModelFeature,
    ModelVersion,
    ReferenceDataset,
    ReferenceStatus,
    Stage,
    primary_first,
)


def model_named(name: str, models: QuerySet[Model] | None = None) -> Model:
    """Return the model of that name, out of `models` where given; UnknownModelError where there is none."""
    known = Model.objects.all() if models is None else models
    # A text that is no name is not looked for: PostgreSQL takes no NUL, not even to find nothing.
    model = known.filter(name=name).first() if re.fullmatch(MODEL_NAME_PATTERN, name) else None
    if model is None:
        raise UnknownModelError(name)
    return model


def version_named(model_name: str, version: str) -> ModelVersion:
    """Return a version by both names; UnknownModelError or UnknownVersionError where there is none."""
    row = model_named(model_name).versions.select_related("model").filter(version=version).first()
    if row is None:
        raise UnknownVersionError(model_name, version)
    return row


def version_problems(version: ModelVersion) -> list[str]:
    """Return what keeps a version from answering or from being watched, a sentence each; empty where all is well.

    Its file is looked for on the disk. Reference data is asked of a version that gets traffic (production, shadow).
    """
    if version.stage == Stage.ARCHIVED:
        return []
    problems = []
    if not Path(version.artefact.path).is_file():
        problems.append("Its ONNX file is gone.")
    newest = version.references.order_by("-id").first()
    if newest is not None and newest.status == ReferenceStatus.FAILED:
        problems.append(f"{newest.original_filename} could not be profiled: {newest.error_message}")
    if version.stage in (Stage.PRODUCTION, Stage.SHADOW) and active_reference(version.pk) is None:
        problems.append("It has no reference data: its drift is not checked.")
    return problems


def feature_names(model: Model) -> list[str]:
    """Return the names of the features of all versions of a model, each once."""
    names = ModelFeature.objects.filter(version__model=model).order_by("name").values_list("name", flat=True)
    return list(names.distinct())


def active_reference(version_id: int) -> ReferenceDataset | None:
    """Return the reference that drift checks of the version use, or None."""
    return ReferenceDataset.objects.filter(version_id=version_id, is_active=True).first()


def load_profile(reference: ReferenceDataset) -> ReferenceProfile:
    """Return the profile of a ready reference, read from its file."""
    with reference.profile_file.open() as content:
        return profile.from_bytes(content.read())


def labelled_reference(reference: ReferenceDataset) -> pa.Table | None:
    """Return the labelled rows of a ready reference; None where it has none.

    Returns
    -------
    pyarrow.Table
        Columns ``actual`` and ``prediction`` (string or float64), and of a classifier ``confidence`` (float64) and
        ``scores`` (`models_registry.class_scores`), where its answers have them.
    """
    if not reference.answers_file:
        return None
    with reference.answers_file.open() as content:
        return pa.ipc.open_file(pa.py_buffer(content.read())).read_all()


def consequences_of_stage(version: ModelVersion, stage: Stage) -> list[str]:
    """Return what moving `version` to `stage` changes, a sentence for each version that it touches."""
    sentences = [f"{version} goes from {version.stage} to {stage.value}."] if version.stage != stage else []
    if stage is Stage.PRODUCTION:
        sentences.append(f"It answers all calls for {version.model.name} that name no version.")
        others = version.model.versions.filter(stage=Stage.PRODUCTION).exclude(pk=version.pk)
        sentences += [
            f"{version.model.name} {other.version} loses its traffic and goes to staging." for other in others
        ]
        if active_reference(version.pk) is None:
            sentences.append(f"{version} has no reference data yet: its drift is not checked until it has.")
    elif version.stage == Stage.PRODUCTION and version.model.versions.filter(stage=Stage.PRODUCTION).count() == 1:
        sentences.append(f"{version.model.name} then has no version in production: calls are refused (503).")
    if stage is Stage.ARCHIVED:
        sentences.append("Its drift gauges vanish, and it answers no call any more.")
    return sentences


def version_of(model: Model, version: str) -> ModelVersion:
    """Return a version of the model; UnknownVersionError where there is none."""
    try:
        return model.versions.select_related("model__drift_policy", "model__capture_policy").get(version=version)
    except ModelVersion.DoesNotExist:
        raise UnknownVersionError(model.name, version) from None


def primary_version(model: Model) -> ModelVersion | None:
    """Return the production version with the most traffic, then the newest; None where none is in production."""
    versions = model.versions.filter(stage=Stage.PRODUCTION).select_related(
        "model__drift_policy", "model__capture_policy"
    )
    return versions.order_by(*primary_first()).first()


def served_versions() -> QuerySet[ModelVersion]:
    """Return every version that is not archived, with its model."""
    return ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")
