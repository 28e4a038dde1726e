"""Many models with references and live windows, and a real worker that checks them.

The first model is created by the services. The others are copies of its rows. Importing this module needs Django.
"""

import itertools
import os
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from benchmarks.fleet import Run
from drift.models import CheckStatus, DriftCheck
from drift.services.checks import run_drift_check
from mlmon.schema import FeatureKind
from mlmon_site.celery import app
from models_registry.models import Model, ModelFeature, ModelVersion, ReferenceDataset, Stage
from tests.factories import uploaded_version
from tests.mlmon.observed import append, observations, profiled_reference
from tests.services.celery_worker import celery_worker

ROWS_OF_AN_ENTRY = 50  # of the live window: one flush of a busy web process
DISTINCT_WINDOWS = 20
DRIFTED_EVERY = 20  # one model in twenty has drifted
CATEGORICAL_SHARE = 0.3
LONGEST_SECONDS = 300
POLL_SECONDS = 0.2
SEED = 20_261_123
_SUCCEEDED = re.compile(r"Task drift\.tasks\.check_version\[[^]]*\] succeeded in ([0-9.e-]+)s")


def create_fleet(models: int, features: int, reference_rows: int, window_rows: int) -> list[int]:
    """Return the ids of versions in production, each with an active reference and a live window."""
    names = _names(features)
    first = uploaded_version("fleet-0000", onnx=_onnx(features), features=names)
    categorical = [name for index, name in enumerate(names) if _is_categorical(index, features)]
    first.features.filter(name__in=categorical).update(kind=FeatureKind.CATEGORICAL)
    reference = profiled_reference(first, _rows(reference_rows, features, seed=0), names)
    versions = [first, *copy_version(first, models - 1)]
    columns = [field.name for field in ModelFeature._meta.concrete_fields if field.name not in ("id", "version")]
    rows = [{name: getattr(feature, name) for name in columns} for feature in first.features.all()]
    ModelFeature.objects.bulk_create(
        (ModelFeature(version=version, **row) for version, row in itertools.product(versions[1:], rows)),
        batch_size=5000,
    )
    ReferenceDataset.objects.bulk_create([_copy_reference(reference, version) for version in versions[1:]])
    ids = [version.pk for version in versions]
    add_windows(ids, features, window_rows)
    return ids


def add_windows(version_ids: Sequence[int], features: int, rows: int) -> None:
    """Append a window of new rows to each version."""
    versions = ModelVersion.objects.select_related("model").in_bulk(version_ids)
    first = versions[version_ids[0]]
    quiet = [observations(first, _rows(rows, features, seed=seed)) for seed in range(1, 1 + DISTINCT_WINDOWS)]
    drifted = observations(first, _rows(rows, features, seed=100, shift=0.5))
    for index, version_id in enumerate(version_ids):
        window = drifted if index % DRIFTED_EVERY == 0 else quiet[index % DISTINCT_WINDOWS]
        for start in range(0, rows, ROWS_OF_AN_ENTRY):
            append(versions[version_id], window.slice(start, ROWS_OF_AN_ENTRY))


def copy_version(first: ModelVersion, copies: int) -> list[ModelVersion]:
    """Return copies of a version in production, each with a model of its own."""
    names = [f"fleet-{index:04d}" for index in range(1, copies + 1)]
    models = Model.objects.bulk_create([Model(name=name) for name in names])
    own = ("id", "model", "stage", "created_by", "created_at")
    copied = [field.name for field in ModelVersion._meta.concrete_fields if field.name not in own]
    values = {name: getattr(first, name) for name in copied}
    return ModelVersion.objects.bulk_create(
        [ModelVersion(model=model, stage=Stage.PRODUCTION, **values) for model in models]
    )


def check_all(version_ids: Sequence[int]) -> None:
    """Check these versions in this process, one after the other."""
    for version_id in version_ids:
        run_drift_check(version_id=version_id)


def run_worker(version_ids: Sequence[int], folder: Path, *, processes: int = 1) -> Run:
    """Start a worker whose log is in `folder`, send ticks as beat does until every version has a check, and stop it."""
    models = len(version_ids)
    entry: Any = settings.CELERY_BEAT_SCHEDULE["drift-tick"]
    with celery_worker(os.environ, folder, processes=processes):
        started, ticks = time.monotonic(), 0
        while True:
            if time.monotonic() - started >= ticks * entry["schedule"].total_seconds():
                app.send_task(entry["task"], **entry["options"])
                ticks += 1
            if DriftCheck.objects.count() >= models or time.monotonic() - started > LONGEST_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - started
    checks = DriftCheck.objects.all()
    return Run(
        models=models,
        checked=checks.values("version").distinct().count(),
        failed=checks.filter(status=CheckStatus.FAILED).count(),
        seconds=seconds,
        ticks=ticks,
        task_seconds=[float(found) for found in _SUCCEEDED.findall((folder / "worker.log").read_text())],
        check_seconds=list(checks.values_list("duration_seconds", flat=True)),
    )


def _copy_reference(reference: ReferenceDataset, version: ModelVersion) -> ReferenceDataset:
    """Return a reference whose profile file has a name of its own, so that no process has read it before."""
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
    """Return rows x features: normal and lognormal numbers, and categories 0 to 4."""
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
