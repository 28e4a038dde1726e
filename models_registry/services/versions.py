"""Registering models, uploading versions and moving them between stages."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import transaction

from accounts.actors import Actor, account_of
from accounts.services.audit import Change, record_change
from accounts.services.generation import bump_generation
from mlmon.schema import Feature, FeatureKind, TensorType
from models_registry.artefact import ArtefactLimits, ArtefactReport, inspect_artefact
from models_registry.artefact_features import LONGEST_NAME
from models_registry.exceptions import ArtefactError, ConflictError
from models_registry.models import Model, ModelFeature, ModelVersion, Stage
from models_registry.services.kept_files import keep_file


@dataclass(frozen=True, slots=True)
class FeatureEdit:
    """What a person says of a feature that the ONNX file cannot: its name, its kind, whether it may be missing."""

    name: str
    kind: FeatureKind
    is_required: bool


@transaction.atomic
def register_model(*, name: str, description: str = "", user: Actor | None = None) -> Model:
    """Register a name; ValidationError where it is malformed or taken."""
    model = Model(name=name, description=description)
    model.full_clean()
    model.save()
    bump_generation()
    record_change(user=user, row=model, message="Registered.")
    return model


def upload_version(
    *,
    model: Model | str,
    version: str,
    artefact: File[bytes],
    feature_names: Sequence[str] | None = None,
    optional: Collection[str] = (),
    categorical: Collection[str] = (),
    notes: str = "",
    user: Actor | None = None,
) -> ModelVersion:
    """Check an ONNX file and keep it as a new version in stage ``staging``.

    The file is inspected before anything is written (models_registry/artefact.py says how); its schema is read from
    the graph.

    Parameters
    ----------
    model, version
        The model, and a semantic version that it does not have yet. A name is registered together with the version: a
        file that is refused leaves none behind.
    artefact
        The ONNX file.
    feature_names
        Names in place of those in the graph, in the order of the inputs.
    optional, categorical
        Names of features whose values may be missing, and of numbers that stand for levels: a graph tells neither.
    notes, user
        Free text, and who did it.

    Raises
    ------
    ArtefactError
        The file is not a model that can be served; the message says why.
    ValidationError
        The version is malformed or taken, or its features cannot be as they are said to be.
    """
    _check_new_version(model, version)
    with _on_disk(artefact) as path:
        report = inspect_artefact(path, limits=ArtefactLimits(size_bytes=settings.MLMON_MAX_ARTEFACT_BYTES))
        features = _described(_named(report.schema.features, feature_names), optional, categorical)
        with transaction.atomic():  # not before: a file takes its time to be tried
            return _save_version(
                model=register_model(name=model, user=user) if isinstance(model, str) else model,
                version=version,
                path=path,
                report=report,
                features=features,
                notes=notes,
                user=user,
            )


@transaction.atomic
def set_stage(
    *, version: ModelVersion, stage: Stage, traffic_weight: int | None = None, user: Actor | None = None
) -> None:
    """Move a version to `stage`.

    A version in production has a traffic weight of at least 1 (100 where none is given); in any other stage it has
    none. Archived is final: an archived version is uploaded anew rather than revived.

    Raises
    ------
    ConflictError
        The version is archived, or a weight is given for a stage that takes no traffic.
    """
    current = ModelVersion.objects.select_for_update().select_related("model").get(pk=version.pk)
    if current.stage == Stage.ARCHIVED and stage != Stage.ARCHIVED:
        raise ConflictError(f"{current} is archived, which is final; upload it as a new version.")
    if stage == Stage.PRODUCTION:
        weight = 100 if traffic_weight is None else traffic_weight
        if weight < 1:
            raise ConflictError("A version in production needs a traffic weight of at least 1.")
    elif traffic_weight:
        raise ConflictError(f"A version in stage {stage} takes no traffic.")
    else:
        weight = 0
    before = (current.stage, current.traffic_weight)
    version.stage, version.traffic_weight = stage, weight
    if before == (stage, weight):
        return  # as it is already: asked for twice
    current.stage, current.traffic_weight = stage, weight
    current.save(update_fields=["stage", "traffic_weight"])
    bump_generation()
    record_change(
        user=user,
        row=current,
        message=f"Stage changed from {before[0]}, weight {before[1]} to {stage.value}, weight {weight}.",
        changes={"Stage": (before[0], stage.value), "Traffic weight": (before[1], weight)},
    )


@transaction.atomic
def promote(*, version: ModelVersion, user: Actor | None = None) -> None:
    """Give a version all of its model's traffic; the versions that had it go back to staging, ready for a way back."""
    Model.objects.select_for_update().get(pk=version.model_id)
    for other in ModelVersion.objects.filter(model_id=version.model_id, stage=Stage.PRODUCTION).exclude(pk=version.pk):
        set_stage(version=other, stage=Stage.STAGING, user=user)
    set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=100, user=user)


@transaction.atomic
def edit_features(*, version: ModelVersion, edits: Mapping[int, FeatureEdit], user: Actor | None = None) -> None:
    """Rename features or change their kinds; `edits` is keyed by the feature's position.

    Raises
    ------
    ConflictError
        The version has left staging (its captured rows carry the old names), or has reference data, whose columns do.
    ValidationError
        A name is empty or taken twice, or a kind does not fit the tensor.
    """
    current, features, edited = _checked_edits(version, edits)
    current.features.all().delete()  # and made anew: renaming in place would trip over swapped names
    _create_features(current, edited, keys=[feature.pk for feature in features])
    bump_generation()
    record_change(user=user, row=current, message="Features edited.", changes=_feature_changes(features, edited))


@transaction.atomic
def check_feature_edits(*, version: ModelVersion, edits: Mapping[int, FeatureEdit]) -> None:
    """Raise what `edit_features` would, and change nothing; in a transaction it stays true until that ends."""
    _checked_edits(version, edits)


def _checked_edits(
    version: ModelVersion, edits: Mapping[int, FeatureEdit]
) -> tuple[ModelVersion, list[ModelFeature], list[Feature]]:
    """Return the version, locked, with its features as they are and as they are to be."""
    current = ModelVersion.objects.select_for_update().select_related("model").get(pk=version.pk)
    if current.stage != Stage.STAGING:
        raise ConflictError("Features can be edited only while a version is in staging.")
    if current.references.exists():
        raise ConflictError(
            "Features cannot be edited once the version has reference data: its columns carry the names."
        )
    features = list(current.features.order_by("position"))
    edited = [_edited(feature.described(), edits.get(feature.position)) for feature in features]
    _check_features(edited)
    return current, features, edited


def _feature_changes(before: Sequence[ModelFeature], after: Sequence[Feature]) -> dict[str, Change]:
    """Return by the old names what was said of the features that are edited, and what is."""
    changes: dict[str, Change] = {}
    for old, new in zip(before, after, strict=True):
        said = (old.name, old.kind, "required" if old.is_required else "may be missing")
        says = (new.name, new.kind.value, "required" if new.is_required else "may be missing")
        if said != says:
            changes[old.name] = (", ".join(said), ", ".join(says))
    return changes


def _check_new_version(model: Model | str, version: str) -> None:
    others = {field.name for field in ModelVersion._meta.fields} - {"model", "version"}
    if isinstance(model, str):
        Model(name=model).full_clean()
        ModelVersion(version=version).clean_fields(exclude=others | {"model"})
        return
    ModelVersion(model=model, version=version).clean_fields(exclude=others)
    if ModelVersion.objects.filter(model=model, version=version).exists():
        raise ValidationError({"version": f"{model.name} already has a version {version}."})


@contextmanager
def _on_disk(artefact: File[bytes]) -> Iterator[Path]:
    """Give the upload a path of its own for the inspection, which runs in another process."""
    with tempfile.TemporaryDirectory(prefix="mlmon-upload-") as folder:
        path = Path(folder) / "model.onnx"
        artefact.seek(0)
        with path.open("wb") as copy:
            shutil.copyfileobj(artefact, copy, 2**20)
        yield path


def _named(features: tuple[Feature, ...], names: Sequence[str] | None) -> list[Feature]:
    if names is None:
        return list(features)
    if len(names) != len(features):
        raise ArtefactError(f"{len(names)} feature names were given; the model takes {len(features)} features.")
    edits = {
        position: FeatureEdit(name=name, kind=feature.kind, is_required=feature.is_required)
        for position, (name, feature) in enumerate(zip(names, features, strict=True))
    }
    named = [_edited(feature, edits[position]) for position, feature in enumerate(features)]
    _check_features(named)
    return named


def _described(
    features: Sequence[Feature], optional: Collection[str], categorical: Collection[str]
) -> Sequence[Feature]:
    """Return features with what only a person knows of them."""
    names = {feature.name for feature in features}
    if unknown := sorted({*optional, *categorical} - names):
        raise ValidationError(f"The model has no feature {unknown[0]!r}.")
    described = [
        _edited(
            feature,
            FeatureEdit(
                name=feature.name,
                kind=FeatureKind.CATEGORICAL if feature.name in categorical else feature.kind,
                is_required=feature.is_required and feature.name not in optional,
            ),
        )
        for feature in features
    ]
    _check_features(described)
    return described


def _edited(feature: Feature, edit: FeatureEdit | None) -> Feature:
    if edit is None:
        return feature
    return Feature(
        name=edit.name.strip(),
        kind=edit.kind,
        is_required=edit.is_required,
        input_name=feature.input_name,
        column=feature.column,
        tensor_type=feature.tensor_type,
    )


def _check_features(features: Sequence[Feature]) -> None:
    names = [feature.name for feature in features]
    if not all(names):
        raise ValidationError("A feature needs a name.")
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise ValidationError(
                f"The feature name {name[:40]!r} is refused: a name has at most {LONGEST_NAME} characters, "
                "all of which can be shown."
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationError(f"Two features are named {twice[0]!r}.")
    for feature in features:
        if feature.tensor_type is TensorType.STRING and feature.kind is not FeatureKind.CATEGORICAL:
            raise ValidationError(f"{feature.name!r} is text, so its kind is categorical.")
        if feature.tensor_type in (TensorType.INT32, TensorType.INT64, TensorType.BOOL) and not feature.is_required:
            raise ValidationError(f"{feature.name!r} must be required: {feature.tensor_type} knows no missing value.")


@transaction.atomic
def _save_version(
    *,
    model: Model,
    version: str,
    path: Path,
    report: ArtefactReport,
    features: Sequence[Feature],
    notes: str,
    user: Actor | None,
) -> ModelVersion:
    row = ModelVersion(
        model=model,
        version=version,
        artefact_sha256=report.sha256,
        artefact_bytes=report.size_bytes,
        framework=report.framework[:128],
        task_type=report.schema.task_type.value,
        classes=list(report.schema.classes),
        label_output=report.schema.label_output,
        score_output=report.schema.score_output,
        scores_are_probabilities=report.schema.scores_are_probabilities,
        notes=notes,
        created_by=account_of(user),
    )
    row.artefact.name = f"artefacts/{report.sha256}.onnx"
    with path.open("rb") as content:
        keep_file(storage=row.artefact.storage, name=row.artefact.name, content=content)
    row.full_clean(exclude={"created_by"})
    row.save()
    _create_features(row, features)
    bump_generation()
    record_change(user=user, row=row, message=f"Uploaded, sha256 {report.sha256}.")
    return row


def _create_features(
    version: ModelVersion, features: Sequence[Feature], *, keys: Sequence[int | None] | None = None
) -> None:
    """Store the rows of a version's features; `keys` are those that they had before."""
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
