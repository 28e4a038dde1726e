"""Registering models, uploading versions and moving them between stages."""

import hashlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from accounts.actors import Actor, account_of
from accounts.services.changes import Change, bump_generation, record_change
from mlmon.schema import Feature, FeatureKind, TensorType
from models_registry.artefacts.inspection import ArtefactLimits, inspect_artefact
from models_registry.artefacts.report import LONGEST_NAME
from models_registry.exceptions import ArtefactError, ConflictError
from models_registry.mlflow_folders.example import try_example
from models_registry.mlflow_folders.signature import features_by_signature
from models_registry.models import (
    OUTDATED_FORMAT,
    Model,
    ModelFeature,
    ModelVersion,
    ReferenceDataset,
    ReferenceStatus,
    Stage,
)
from models_registry.prediction_check import check_predictions
from models_registry.schema import Declaration
from models_registry.selectors import other_production_versions
from models_registry.services.model_files import ModelFiles, copy_files
from models_registry.services.stored_files import store_file

# Sent in the transaction that archives a `version`. A receiver raises ConflictError to refuse, with the reason.
version_is_archived = Signal()


@transaction.atomic
def register_model(*, name: str, description: str = "", time_zone: str = "UTC", user: Actor | None = None) -> Model:
    """Register a model; raise ValidationError if the name is malformed or taken, or if there is no such time zone."""
    model = Model(name=name, description=description, time_zone=time_zone)
    model.full_clean()
    model.save()
    bump_generation()
    record_change(user=user, row=model, message="Registered.")
    return model


@transaction.atomic
def save_changed_model(*, model: Model) -> None:
    """Save a model; after a change of its time zone, have the profiles of its references rebuilt.

    The profiles depend on the zone: it has the hours and weekdays, and the times without an offset are of it.
    """
    before = Model.objects.select_for_update(no_key=True).get(pk=model.pk)  # profiles are stored under the same lock
    model.save()
    if model.time_zone != before.time_zone:
        references = ReferenceDataset.objects.filter(version__model=model, status=ReferenceStatus.READY)
        references.update(profile_format=OUTDATED_FORMAT)


# --- upload a version -----------------------------------------------------------------------------------------------


def upload_version(
    *,
    model: Model | str,
    version: str,
    files: Sequence[File[bytes]],
    feature_names: Sequence[str] | None = None,
    optional: Collection[str] = (),
    categorical: Collection[str] = (),
    declared: Declaration = Declaration(),  # noqa: B008 -- immutable
    check: File[bytes] | None = None,
    notes: str = "",
    user: Actor | None = None,
) -> ModelVersion:
    """Inspect an ONNX file and store it as a new version in stage ``staging``.

    Nothing is written before the file has passed its inspection (`models_registry.artefacts`). The schema is read from
    the graph. The file is kept; if it had to be changed to be served, the changed model is stored beside it.

    Parameters
    ----------
    model, version
        The model, and a semantic version that it does not have yet. A name is registered together with the version, so
        a refused file leaves no model behind.
    files
        The ONNX file and the files with its tensors (external data), or the files of an MLflow model; or a zip archive
        of either.
    feature_names
        Names that replace those of the graph and of an MLflow signature, in the order of the inputs.
    optional, categorical
        Names of features that may be missing, and of numeric features that are categories: a graph contains neither.
        They replace those of an MLflow signature.
    declared
        Task, kind of the scores, and classes, where the graph does not prove them.
    check
        Rows with the framework's own predictions (`models_registry.prediction_check`), which must be equal.
    notes, user
        Free text, and who uploads it.

    Raises
    ------
    UndeclaredOutputError
        The graph does not prove what the model predicts, and `declared` does not state it.
    ArtefactError
        The file is not a model that can be served; the message says why.
    CheckFileError
        The rows to check cannot be read.
    ValidationError
        The version is malformed or taken, or the features do not fit the model.
    """
    check_new_version(model, version)
    with tempfile.TemporaryDirectory(prefix="mlmon-upload-") as folder:
        stored = copy_files(files, Path(folder), size_bytes=settings.MLMON_MAX_ARTEFACT_BYTES)
        normalised = Path(folder) / "normalised.onnx"
        report = inspect_artefact(
            stored.model,
            limits=ArtefactLimits(size_bytes=settings.MLMON_MAX_ARTEFACT_BYTES),
            normalised_path=normalised,
            data_files=stored.data_files,
            declared=declared,
        )
        features, remarks = _signed_features(
            stored,
            report.schema.features,
            is_used=feature_names is None,
            with_optional=not optional,
            with_categories=not categorical,
        )
        remarks = [*report.remarks, *remarks]
        features = _described_features(features, feature_names, optional, categorical)
        served = normalised if report.is_normalised else stored.model
        schema = replace(report.schema, features=tuple(features))
        if stored.example is not None:
            remarks.append(try_example(served, schema, stored.example))
        if check is not None:
            remarks.append(check_predictions(served, schema, check))
        sha256 = stored.sha256()
        with transaction.atomic():  # not earlier, because the inspection takes seconds
            row = ModelVersion(
                model=register_model(name=model, user=user) if isinstance(model, str) else model,
                version=version,
                artefact_sha256=sha256,
                artefact_bytes=stored.kept.stat().st_size,
                framework=report.framework[:128],
                task_type=report.schema.task_type.value,
                classes=list(report.schema.classes),
                label_output=report.schema.label_output,
                score_output=report.schema.score_output,
                score_kind=report.schema.score_kind or "",
                rows_at_once=report.schema.rows_at_once,
                remarks=remarks,
                notes=notes,
                created_by=account_of(user),
            )
            row.artefact.name = f"artefacts/{sha256}{stored.kept.suffix}"
            to_store = {row.artefact.name: stored.kept}
            if served != stored.kept:
                with served.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                row.normalised.name = f"artefacts/{digest}.onnx"
                to_store[row.normalised.name] = served
            row.full_clean(exclude={"created_by"})
            row.save()
            create_features(row, features)
            bump_generation()
            record_change(user=user, row=row, message=f"Uploaded, sha256 {sha256}.")
            for name, path in to_store.items():  # last, so that a row that is refused leaves no file behind
                with path.open("rb") as content:
                    store_file(storage=row.artefact.storage, name=name, content=content)
            return row


def check_new_version(model: Model | str, version: str) -> None:
    """Raise ValidationError if a name is malformed, or if the model has the version already."""
    others = {field.name for field in ModelVersion._meta.fields} - {"model", "version"}
    if isinstance(model, str):
        Model(name=model).full_clean()
        ModelVersion(version=version).clean_fields(exclude=others | {"model"})
        return
    ModelVersion(model=model, version=version).clean_fields(exclude=others)
    if ModelVersion.objects.filter(model=model, version=version).exists():
        raise ValidationError({"version": f"{model.name} already has a version {version}."})


def _signed_features(
    stored: ModelFiles, features: Sequence[Feature], *, is_used: bool, with_optional: bool, with_categories: bool
) -> tuple[list[Feature], list[str]]:
    """Return the features of a graph as the signature of its MLflow model describes them, and remarks."""
    if stored.mlflow is None:
        return list(features), []
    if not is_used:
        return list(features), ["The MLflow signature was not used, because the names of the features were stated."]
    if stored.mlflow.signature is None:
        return list(features), ["The MLflow model has no signature, so the names of the features are the file's."]
    return features_by_signature(
        features, stored.mlflow.signature, with_optional=with_optional, with_categories=with_categories
    )


def _described_features(
    features: Sequence[Feature],
    names: Sequence[str] | None,
    optional: Collection[str],
    categorical: Collection[str],
) -> list[Feature]:
    """Return the features of a graph with what only the uploader knows about them."""
    if names is None:
        names = [feature.name for feature in features]
    elif len(names) != len(features):
        raise ArtefactError(f"{len(names)} feature names were given; the model has {len(features)} features.")
    names = [name.strip() for name in names]
    if unknown := sorted({*optional, *categorical}.difference(names)):
        raise ValidationError(f"The model has no feature {unknown[0]!r}.")
    described = [
        replace(
            feature,
            name=name,
            kind=FeatureKind.CATEGORICAL if name in categorical else feature.kind,
            is_required=feature.is_required and name not in optional,
        )
        for name, feature in zip(names, features, strict=True)
    ]
    check_features(described)
    return described


def check_features(features: Sequence[Feature]) -> None:
    """Raise ValidationError if a name is not allowed or used twice, or if a type or kind cannot be."""
    names = [feature.name for feature in features]
    if not all(names):
        raise ValidationError("A feature has no name. Give every feature one.")
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise ValidationError(
                f"The feature name {name[:40]!r} is not allowed: use at most {LONGEST_NAME} characters, all printable."
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationError(f"Two features are named {twice[0]!r}.")
    for feature in features:
        if feature.tensor_type is TensorType.STRING and feature.kind is not FeatureKind.CATEGORICAL:
            raise ValidationError(f"{feature.name!r} is a string, so its kind must be categorical.")
        has_tensor = feature.input_name and feature.tensor_type in (TensorType.INT32, TensorType.INT64, TensorType.BOOL)
        if has_tensor and not feature.is_required:
            raise ValidationError(
                f"{feature.name!r} must be required: {feature.tensor_type} cannot hold a missing value."
            )


def create_features(
    version: ModelVersion, features: Sequence[Feature], *, keys: Sequence[int | None] | None = None
) -> None:
    """Store the rows of a version's features, with the primary keys that they had before, if any."""
    ModelFeature.objects.bulk_create(
        ModelFeature(
            pk=key,
            version=version,
            position=position,
            name=feature.name,
            kind=feature.kind.value,
            is_required=feature.is_required,
            input_name=feature.input_name,
            column=feature.column,
            tensor_type=feature.tensor_type.value,
        )
        for position, (key, feature) in enumerate(zip(keys or [None] * len(features), features, strict=True))
    )


# --- change a version -----------------------------------------------------------------------------------------------


@transaction.atomic
def set_stage(
    *, version: ModelVersion, stage: Stage, traffic_weight: int | None = None, user: Actor | None = None
) -> None:
    """Move a version to `stage`.

    A version in production has a traffic weight of at least 1 (default 100); in any other stage it has none. Archived
    is final: upload an archived version again under a new version.

    Raises
    ------
    ConflictError
        The version is archived, or a weight is given for a stage without traffic, or the version cannot be archived
        because an upper app uses it (`version_is_archived`).
    """
    current = ModelVersion.objects.select_for_update().select_related("model").get(pk=version.pk)
    if current.stage == Stage.ARCHIVED and stage != Stage.ARCHIVED:
        raise ConflictError(f"{current} is archived, which is final. Upload it as a new version.")
    if stage == Stage.PRODUCTION:
        weight = 100 if traffic_weight is None else traffic_weight
        if weight < 1:
            raise ConflictError("A version in production needs a traffic weight of at least 1.")
    elif traffic_weight:
        raise ConflictError(f"A version in stage {stage} takes no traffic. Leave out the traffic weight.")
    else:
        weight = 0
    before = (current.stage, current.traffic_weight)
    if before == (stage, weight):
        version.stage, version.traffic_weight = stage, weight
        return
    if stage == Stage.ARCHIVED:
        version_is_archived.send(sender=ModelVersion, version=current)
    version.stage, version.traffic_weight = stage, weight
    current.stage, current.traffic_weight = stage, weight
    if stage == Stage.PRODUCTION and current.promoted_at is None:
        current.promoted_at = timezone.now()
    version.promoted_at = current.promoted_at
    current.save(update_fields=["stage", "traffic_weight", "promoted_at"])
    bump_generation()
    record_change(
        user=user,
        row=current,
        message=f"Stage changed from {before[0]}, weight {before[1]} to {stage.value}, weight {weight}.",
        changes={"Stage": (before[0], stage.value), "Traffic weight": (before[1], weight)},
    )


@transaction.atomic
def promote(*, version: ModelVersion, user: Actor | None = None) -> None:
    """Give a version all of its model's traffic; the versions that had it return to staging."""
    Model.objects.select_for_update().get(pk=version.model_id)
    for other in other_production_versions(version):
        set_stage(version=other, stage=Stage.STAGING, user=user)
    set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=100, user=user)


@transaction.atomic
def split_traffic(*, model: Model, weights: Mapping[int, int], user: Actor | None = None) -> None:
    """Share out a model's traffic: versions with a weight are in production, those with 0 return to staging.

    Parameters
    ----------
    weights
        By the id of the version. Other versions keep theirs.

    Raises
    ------
    ConflictError
        No version that is served here would have traffic, or a version is archived.
    """
    Model.objects.select_for_update().get(pk=model.pk)
    for version in model.versions.filter(pk__in=weights).order_by("pk"):
        if weight := weights[version.pk]:
            set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=weight, user=user)
        elif version.stage == Stage.PRODUCTION:
            set_stage(version=version, stage=Stage.STAGING, user=user)
    if not any(one.is_served_here for one in model.versions.filter(stage=Stage.PRODUCTION)):
        raise ConflictError(
            f"No version of {model} would get requests. Give one a weight, or move it to staging on its own page."
        )


@dataclass(frozen=True, slots=True)
class FeatureEdit:
    """What people know about a feature and the ONNX file does not: its name, its kind, whether it may be missing."""

    name: str
    kind: FeatureKind
    is_required: bool


@transaction.atomic
def edit_features(*, version: ModelVersion, edits: Mapping[int, FeatureEdit], user: Actor | None = None) -> None:
    """Rename features or change their kinds; `edits` is keyed by the feature's position.

    Raises
    ------
    ConflictError
        The version has left staging (captured observations have the old names), or has reference data, whose columns
        have them.
    ValidationError
        A name is empty or used twice, or a kind does not fit the tensor.
    """
    current, rows, edited = check_feature_edits(version=version, edits=edits)
    changes: dict[str, Change] = {}
    for row, feature in zip(rows, edited, strict=True):
        before = (row.name, row.kind, "required" if row.is_required else "may be missing")
        after = (feature.name, feature.kind.value, "required" if feature.is_required else "may be missing")
        if before != after:
            changes[row.name] = (", ".join(before), ", ".join(after))
    current.features.all().delete()  # updates in place would violate the unique names if two are swapped
    create_features(current, edited, keys=[row.pk for row in rows])
    bump_generation()
    record_change(user=user, row=current, message="Features edited.", changes=changes)


@transaction.atomic
def check_feature_edits(
    *, version: ModelVersion, edits: Mapping[int, FeatureEdit]
) -> tuple[ModelVersion, list[ModelFeature], list[Feature]]:
    """Return the locked version, its features' rows, and its features after the edits; raise as `edit_features` does.

    The result is valid until the surrounding transaction ends.
    """
    current = ModelVersion.objects.select_for_update().select_related("model").get(pk=version.pk)
    if current.stage != Stage.STAGING:
        raise ConflictError("Features can be edited only while a version is in staging.")
    if current.references.exists():
        raise ConflictError(
            "Features cannot be edited once the version has reference data, whose columns have their names."
        )
    rows = list(current.features.order_by("position"))
    edited = [row.described() for row in rows]
    for position, (row, feature) in enumerate(zip(rows, edited, strict=True)):
        if edit := edits.get(row.position):
            name, kind, is_required = edit.name.strip(), edit.kind, edit.is_required
            edited[position] = replace(feature, name=name, kind=kind, is_required=is_required)
    check_features(edited)
    return current, rows, edited
