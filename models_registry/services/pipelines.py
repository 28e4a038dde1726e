"""Registry writes that a CI pipeline may repeat: the same request again changes nothing."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction

from accounts.actors import Actor
from mlmon.schema import FeatureKind, TensorType
from models_registry.exceptions import ContradictionError
from models_registry.models import Model, ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.schema import Declaration
from models_registry.schema_document import document_of_feature, document_of_schema, schema_of_document
from models_registry.services.external_versions import register_external_version
from models_registry.services.model_files import copy_files
from models_registry.services.references import digest_of_upload, lock_version, refuse_large, upload_reference
from models_registry.services.versions import promote, register_model, set_stage, upload_version

CATEGORICAL_BY_TYPE = (TensorType.STRING, TensorType.BOOL)  # whatever the uploader says

# --- models ---------------------------------------------------------------------------------------------------------


def ensure_model(*, name: str, user: Actor, **given: str) -> tuple[Model, bool]:
    """Return the model with this name, and whether this call has registered it.

    Parameters
    ----------
    given
        ``description`` and ``time_zone``. If the model exists, those that are given must be its own.

    Raises
    ------
    ContradictionError
        The model exists with another description or time zone.
    ValidationError
        The name is malformed, or there is no such time zone.
    """
    model = Model.objects.filter(name=name).first()
    if model is None:
        try:
            return register_model(name=name, user=user, **given), True
        except (IntegrityError, ValidationError):
            model = Model.objects.filter(name=name).first()
            if model is None:  # otherwise another request has registered it in the meantime
                raise
    _refuse_other_values(f"Model {name}", {key: (getattr(model, key), value) for key, value in given.items()})
    return model, False


# --- versions -------------------------------------------------------------------------------------------------------


def ensure_version(
    *,
    model: Model,
    version: str,
    files: Sequence[UploadedFile[bytes]],
    features: Sequence[str] = (),
    task: str = "",
    scores: str = "",
    classes: Sequence[str] = (),
    user: Actor,
    **options: Any,
) -> tuple[ModelVersion, bool]:
    """Return this version of the model, and whether this call has uploaded it.

    Parameters
    ----------
    files
        The files of the model.
    features
        Names of the features, in the order of the inputs; empty for those of the graph.
    task, scores, classes
        What the graph does not prove (`models_registry.schema.Declaration`).
    options
        Further arguments of `upload_version`. If the version exists, those that `_options_of` knows must be its own.

    Raises
    ------
    ContradictionError
        The version exists with another file or other options.
    LargeArtefactError, ArtefactError, ValidationError
        As in `upload_version`; nothing is stored.
    """
    stored = model.versions.filter(version=version).first()
    if stored is None:
        try:
            uploaded = upload_version(
                model=model,
                version=version,
                files=files,
                feature_names=features or None,
                declared=Declaration.of(task, scores, classes),
                user=user,
                **options,
            )
        except (IntegrityError, ValidationError):
            stored = model.versions.filter(version=version).first()
            if stored is None:  # otherwise another request has uploaded it in the meantime
                raise
        else:
            return uploaded, True
    if not stored.is_served_here:
        raise ContradictionError(f"{stored}", {"artefact": "it is served elsewhere. Give the file a new version."})
    with tempfile.TemporaryDirectory(prefix="mlmon-upload-") as folder:
        sha256 = copy_files(files, Path(folder), size_bytes=settings.MLMON_MAX_ARTEFACT_BYTES).sha256()
    if stored.artefact_sha256 != sha256:
        reason = (
            f"it was uploaded with the SHA-256 {stored.artefact_sha256}, not {sha256}. Give the file a new version."
        )
        raise ContradictionError(f"{stored}", {"artefact": reason})
    given = {"features": features, "task": task, "scores": scores, "classes": classes, **options}
    _refuse_other_values(f"{stored}", _options_of(stored, given))
    return stored, False


def ensure_external_version(
    *, model: Model, version: str, document: object, notes: str = "", user: Actor
) -> tuple[ModelVersion, bool]:
    """Return this version of the model, which is served elsewhere, and whether this call has registered it.

    Parameters
    ----------
    document
        The schema, as decoded from JSON. If the version exists, it must be its own.
    notes
        Of a new version.

    Raises
    ------
    ContradictionError
        The version exists with an artefact, or with another schema.
    SchemaError, ValidationError
        As in `register_external_version`; nothing is stored.
    """
    schema = schema_of_document(document)
    stored = model.versions.filter(version=version).first()
    if stored is None:
        try:
            return register_external_version(
                model=model, version=version, document=document, notes=notes, user=user
            ), True
        except (IntegrityError, ValidationError):
            stored = model.versions.filter(version=version).first()
            if stored is None:  # otherwise another request has registered it in the meantime
                raise
    if stored.is_served_here:
        reason = "it was uploaded as a file and is served here. Register what is served elsewhere as a new version."
        raise ContradictionError(f"{stored}", {"schema": reason})
    has = document_of_schema(stored.schema())
    given = document_of_schema(schema)
    names = [[feature["name"] for feature in each.pop("features")] for each in (has, given)]
    values: dict[str, tuple[Any, Any]] = {key: (has.get(key, []), given.get(key, [])) for key in has | given}
    values["features"] = (names[0], names[1])
    for index, pair in enumerate(zip(stored.schema().features, schema.features, strict=False)):
        described = [json.dumps(document_of_feature(feature), ensure_ascii=False) for feature in pair]
        values[f"features[{index}]"] = (described[0], described[1])
    _refuse_other_values(f"{stored}", values)
    return stored, False


def _options_of(version: ModelVersion, given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options of a version's upload that a repeated upload must not contradict: stored and given.

    They are what predictions depend on. Notes are not among them, because people edit them. Options that are not given
    are left out. Sets are compared without their order.
    """
    features, categorical = version.schema().features, set(given.get("categorical", ()))
    values: dict[str, tuple[Any, Any]] = {
        "features": ([feature.name for feature in features], list(given.get("features", ()))),
        "task": (version.task_type, given.get("task")),
        "scores": (version.score_kind, given.get("scores")),
        "classes": (version.classes, list(given.get("classes", ()))),
        "optional": ({feature.name for feature in features if not feature.is_required}, set(given.get("optional", ()))),
        "categorical": (
            {
                feature.name
                for feature in features
                if feature.kind is FeatureKind.CATEGORICAL
                and (feature.tensor_type not in CATEGORICAL_BY_TYPE or feature.name in categorical)
            },
            categorical,
        ),
    }
    return {name: both for name, both in values.items() if both[1]}


def _refuse_other_values(row: str, values: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise ContradictionError if a stored value and the given one differ."""
    reasons = {
        name: f"it is {_shown(stored)}, not {_shown(given)}. Send the stored value, or leave the field out."
        for name, (stored, given) in values.items()
        if stored != given
    }
    if reasons:
        raise ContradictionError(row, reasons)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return ", ".join(sorted(value) if isinstance(value, set) else value) or "empty"


# --- reference data -------------------------------------------------------------------------------------------------


@transaction.atomic
def ensure_reference(
    *, version: ModelVersion, file: UploadedFile[bytes], user: Actor, **options: Any
) -> tuple[ReferenceDataset, bool]:
    """Return the reference of the version with this file and these options, and whether this call has uploaded it.

    One that failed is uploaded again, because the server may have been the reason. One that is not active any more
    stays as it is: a person may have activated another one, or made a window the reference.

    Parameters
    ----------
    options
        Further arguments of `upload_reference`.

    Raises
    ------
    ConflictError
        The version is archived.
    LargeReferenceError
        The file is larger than the limit.
    """
    refuse_large(file.size or 0)
    upload_sha256 = digest_of_upload(file, **options)
    lock_version(version.pk)  # so that of two equal requests the second one finds what the first one has stored
    same = version.references.filter(upload_sha256=upload_sha256).exclude(status=ReferenceStatus.FAILED)
    if (reference := same.first()) is not None:  # the latest
        return reference, False
    return upload_reference(version=version, file=file, filename=file.name or "", user=user, **options), True


# --- stages ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageChange:
    """A version whose stage or traffic a request has changed.

    Attributes
    ----------
    version
        The version.
    stage_before, stage
        Its stage before and after.
    traffic_weight_before, traffic_weight
        Its traffic weight before and after.
    """

    version: str
    stage_before: Stage
    traffic_weight_before: int
    stage: Stage
    traffic_weight: int


@transaction.atomic
def move_version(
    *, version: ModelVersion, stage: Stage, traffic_weight: int | None = None, user: Actor
) -> list[StageChange]:
    """Move a version to a stage, and return what that has changed, also of the model's other versions.

    Without a weight, a version in production gets all of the model's traffic; with one, the others keep theirs.

    Raises
    ------
    ConflictError
        As in `set_stage`.
    """
    Model.objects.select_for_update().get(pk=version.model_id)
    before = list(ModelVersion.objects.select_for_update().filter(model_id=version.model_id).order_by("pk"))
    if stage is Stage.PRODUCTION and traffic_weight is None:
        promote(version=version, user=user)
    else:
        set_stage(version=version, stage=stage, traffic_weight=traffic_weight, user=user)
    after = ModelVersion.objects.in_bulk([row.pk for row in before])
    moves = [(row, after[row.pk]) for row in before]
    return [
        StageChange(new.version, Stage(old.stage), old.traffic_weight, Stage(new.stage), new.traffic_weight)
        for old, new in moves
        if (old.stage, old.traffic_weight) != (new.stage, new.traffic_weight)
    ]
