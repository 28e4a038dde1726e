"""Queries of the registry, for this app and those above it."""

import re

import pyarrow as pa
from django.db.models import QuerySet

from mlmon import profile
from mlmon.profile import ReferenceProfile
from models_registry.exceptions import UnknownJobError, UnknownModelError, UnknownVersionError
from models_registry.models import (
    MODEL_NAME_PATTERN,
    SEMANTIC_VERSION_PATTERN,
    Model,
    ModelFeature,
    ModelVersion,
    ReferenceDataset,
    ReferenceStatus,
    Stage,
)

# The ordering that puts a model's primary version first: most traffic, then the latest.
PRIMARY_FIRST = ("-traffic_weight", "-id")


def model_named(name: str, models: QuerySet[Model] | None = None) -> Model:
    """Return the model with this name, from `models` if given; raise UnknownModelError if there is none."""
    known = Model.objects.all() if models is None else models
    # Other strings are not looked up: PostgreSQL accepts no NUL, even in a query.
    model = known.filter(name=name).first() if re.fullmatch(MODEL_NAME_PATTERN, name) else None
    if model is None:
        raise UnknownModelError(name)
    return model


def version_named(model_name: str, version: str) -> ModelVersion:
    """Return the version with these names; raise UnknownModelError or UnknownVersionError if there is none."""
    return version_of(model_named(model_name), version)


def reference_of(model: Model, reference_id: int) -> ReferenceDataset:
    """Return a reference of the model by the id of its job, which is its own; raise UnknownJobError without one."""
    references = ReferenceDataset.objects.filter(version__model=model).select_related("version__model")
    reference = references.filter(pk=reference_id).first()
    if reference is None:
        raise UnknownJobError(model.name, reference_id)
    return reference


def version_problems(version: ModelVersion) -> list[str]:
    """Return what prevents a version from predicting or being monitored, one sentence each.

    Its file must exist, unless it is served elsewhere. A version in production or shadow must have reference data.
    """
    if version.stage == Stage.ARCHIVED:
        return []
    problems = []
    if version.is_served_here and not version.served_path().is_file():
        problems.append("Its ONNX file is missing.")
    latest = version.references.order_by("-id").first()
    if latest is not None and latest.status == ReferenceStatus.FAILED:
        problems.append(f"{latest.original_filename} could not be profiled: {latest.error_message}")
    if version.stage in (Stage.PRODUCTION, Stage.SHADOW) and active_reference(version.pk) is None:
        problems.append("It has no reference data, so drift is not checked.")
    return problems


def feature_names(model: Model) -> list[str]:
    """Return the feature names of all versions of a model, without duplicates."""
    names = ModelFeature.objects.filter(version__model=model).order_by("name").values_list("name", flat=True)
    return list(names.distinct())


def feature_kinds(model: Model) -> dict[str, str]:
    """Return the kinds of the features of all versions by name, sorted; the latest version with a feature counts."""
    features = ModelFeature.objects.filter(version__model=model).order_by("version")
    return dict(sorted(dict(features.values_list("name", "kind")).items()))


def active_reference(version_id: int) -> ReferenceDataset | None:
    """Return the reference that drift checks of the version use, or None."""
    return ReferenceDataset.objects.filter(version_id=version_id, is_active=True).first()


def load_profile(reference: ReferenceDataset) -> ReferenceProfile:
    """Return the profile of a ready reference."""
    with reference.profile_file.open() as content:
        return profile.from_bytes(content.read())


def labelled_reference(reference: ReferenceDataset) -> pa.Table | None:
    """Return the labelled rows of a ready reference, or None.

    Returns
    -------
    pyarrow.Table
        Columns ``actual`` and ``prediction`` (string or float64); for a classifier also ``confidence`` (float64) and
        ``scores`` (`models_registry.class_scores`), if its predictions have them.
    """
    if not reference.predictions_file:
        return None
    with reference.predictions_file.open() as content:
        return pa.ipc.open_file(pa.py_buffer(content.read())).read_all()


def other_production_versions(version: ModelVersion) -> QuerySet[ModelVersion]:
    """Return the other versions of the same model that are in production."""
    others = ModelVersion.objects.filter(model_id=version.model_id, stage=Stage.PRODUCTION).exclude(pk=version.pk)
    return others.select_related("model")


def consequences_of_stage(version: ModelVersion, stage: Stage) -> list[str]:
    """Return what moving `version` to `stage` changes, a sentence for each affected version."""
    model, others = version.model, other_production_versions(version)
    sentences = [f"{version} goes from {version.stage} to {stage.value}."] if version.stage != stage else []
    if stage is Stage.PRODUCTION:
        if version.is_served_here:
            sentences.append(f"It serves all requests for {model} that name no version.")
        else:
            sentences.append(
                f"It is served elsewhere: {model} does not predict here any more (409), and observations that name no "
                "version belong to it."
            )
        sentences += [f"{other} loses its traffic and goes to staging." for other in others]
        if active_reference(version.pk) is None:
            sentences.append(f"{version} has no reference data yet. Its drift is not checked until it has some.")
    elif version.stage == Stage.PRODUCTION and not others.exists():
        sentences.append(f"{model} then has no version in production: requests are refused (503).")
    elif version.stage == Stage.PRODUCTION and version.is_served_here and not any(one.is_served_here for one in others):
        sentences.append(
            f"The other versions of {model} in production are served elsewhere: it predicts no more (409)."
        )
    if stage is Stage.SHADOW and not version.is_served_here:
        sentences.append("It is served elsewhere, so it gets no copies of requests. Its server sends its predictions.")
    if stage is Stage.ARCHIVED:
        ends = "it serves no requests any more" if version.is_served_here else "its observations are refused"
        sentences.append(f"Its drift metrics disappear, and {ends}.")
    return sentences


def version_of(model: Model, version: str) -> ModelVersion:
    """Return a version of the model; raise UnknownVersionError if there is none."""
    # Other strings are not looked up, as in `model_named`.
    is_possible = re.fullmatch(SEMANTIC_VERSION_PATTERN, version)
    row = model.versions.filter(version=version).first() if is_possible else None
    if row is None:
        raise UnknownVersionError(model.name, version)
    return row


def primary_version(model: Model) -> ModelVersion | None:
    """Return the production version with the most traffic, then the latest; None if none is in production."""
    return model.versions.filter(stage=Stage.PRODUCTION).order_by(*PRIMARY_FIRST).first()


def served_versions() -> QuerySet[ModelVersion]:
    """Return every version that is not archived; its model is selected too."""
    return ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")
