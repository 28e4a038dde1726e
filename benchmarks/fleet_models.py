"""A thousand models with references and live windows: one of each kind made on its real way, the others its copies."""

import itertools
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlmon.schema import FeatureKind
from models_registry.models import Model, ModelFeature, ModelVersion, ReferenceDataset, Stage
from tests.factories import uploaded_version
from tests.mlmon.observed import append, observations, profiled_reference

ROWS_OF_AN_ENTRY = 50  # of the live window: what one flush of a busy web process packs
DISTINCT_WINDOWS = 20
DRIFTED_EVERY = 20  # each twentieth model has drifted
CATEGORICAL_SHARE = 0.3
SEED = 20_261_123


def put_in_place(models: int, features: int, reference_rows: int, window_rows: int) -> list[int]:
    """Return the ids of versions in production, each with a reference in force and a live window."""
    first = _first_version(features)
    reference = profiled_reference(first, _rows(reference_rows, features, seed=0), _names(features))
    versions = [first, *copies(first, models - 1)]
    ModelFeature.objects.bulk_create(_features_of(first, versions[1:]), batch_size=5000)
    ReferenceDataset.objects.bulk_create([_reference_of(reference, version) for version in versions[1:]])
    ids = [version.pk for version in versions]
    observe_again(ids, features, window_rows)
    return ids


def observe_again(version_ids: Sequence[int], features: int, rows: int) -> None:
    """Append a window of new rows to each of these versions."""
    versions = ModelVersion.objects.select_related("model").in_bulk(version_ids)
    model = versions[version_ids[0]]
    quiet = [observations(model, _rows(rows, features, seed=seed)) for seed in range(1, 1 + DISTINCT_WINDOWS)]
    drifted = observations(model, _rows(rows, features, seed=100, shift=0.5))
    for index, version_id in enumerate(version_ids):
        window = drifted if index % DRIFTED_EVERY == 0 else quiet[index % DISTINCT_WINDOWS]
        for start in range(0, rows, ROWS_OF_AN_ENTRY):
            append(versions[version_id], window.slice(start, ROWS_OF_AN_ENTRY))


def _first_version(features: int) -> ModelVersion:
    version = uploaded_version("fleet-0000", onnx=_onnx(features), features=_names(features))
    levels = [name for index, name in enumerate(_names(features)) if _is_categorical(index, features)]
    version.features.filter(name__in=levels).update(kind=FeatureKind.CATEGORICAL)
    return version


def copies(first: ModelVersion, number: int) -> list[ModelVersion]:
    """Return as many versions in production that differ from `first` in their models alone."""
    names = [f"fleet-{index:04d}" for index in range(1, number + 1)]
    models = Model.objects.bulk_create([Model(name=name) for name in names])
    own = ("id", "model", "stage", "created_by", "created_at")
    copied = [field.name for field in ModelVersion._meta.concrete_fields if field.name not in own]
    values = {name: getattr(first, name) for name in copied}
    return ModelVersion.objects.bulk_create(
        [ModelVersion(model=model, stage=Stage.PRODUCTION, **values) for model in models]
    )


def _features_of(first: ModelVersion, versions: Sequence[ModelVersion]) -> list[ModelFeature]:
    names = [field.name for field in ModelFeature._meta.concrete_fields if field.name not in ("id", "version")]
    rows = [{name: getattr(feature, name) for name in names} for feature in first.features.all()]
    return [ModelFeature(version=version, **row) for version, row in itertools.product(versions, rows)]


def _reference_of(reference: ReferenceDataset, version: ModelVersion) -> ReferenceDataset:
    """Return a reference with a profile file of its own name: no process has read it yet."""
    profile = Path(reference.profile_file.path)
    name = f"profiles/fleet-{version.pk}{profile.suffix}"
    os.link(profile, profile.parent / Path(name).name)
    return ReferenceDataset(
        version=version,
        file=reference.file.name,
        original_filename=reference.original_filename,
        status=reference.status,
        is_active=True,
        progress_percent=100,
        rows=reference.rows,
        profile_file=name,
        profiled_at=datetime.now(UTC),
    )


def _rows(rows: int, features: int, *, seed: int, shift: float = 0.0) -> NDArray[np.float64]:
    """Return rows x features: normal and lognormal numbers, and levels 0 to 4."""
    rng = np.random.default_rng([SEED, seed])
    columns = rng.normal(0, 1, (rows, features))
    columns[:, 1::3] = np.exp(columns[:, 1::3])
    columns[:, 0] += shift
    for index in range(features):
        if _is_categorical(index, features):
            columns[:, index] = rng.choice(5, size=rows, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    return columns


def _names(features: int) -> tuple[str, ...]:
    return tuple(f"feature_{index:02d}" for index in range(features))


def _is_categorical(index: int, features: int) -> bool:
    return index >= features - round(CATEGORICAL_SHARE * features)


def _onnx(features: int) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = _rows(500, features, seed=1000)
    model = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "yes", "no"))
    exported = to_onnx(model, rows[:1].astype("float32"), options={"zipmap": False}, target_opset=18)
    content: bytes = exported.SerializeToString()
    return content
