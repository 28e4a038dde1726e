"""The latest checks of many models, and the samples of a scrape. Importing this module needs Django."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from django.utils import timezone

from benchmarks.fleet_models import copy_version
from drift.models import CheckStatus, DriftCheck, FeatureDrift
from mlmon.results import FeatureResult, Method
from mlmon.schema import FeatureKind
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import served_versions
from monitoring import selectors
from monitoring.metrics import declarations
from monitoring.metrics.declarations import MetricGroup, StateMetric, Value
from monitoring.metrics.exposition import samples_of_check, samples_of_versions
from tests.factories import uploaded_version

SEED = 20_261_123


def create_checks(models: int, features: int) -> None:
    """Store `models` models in production, each with a succeeded check of `features` features."""
    first = uploaded_version("scraped")
    checks = DriftCheck.objects.bulk_create(_check(version) for version in [first, *copy_version(first, models - 1)])
    scores = np.random.default_rng(SEED).random((len(checks), features))
    FeatureDrift.objects.bulk_create(
        (
            FeatureDrift.of(
                check,
                FeatureResult(
                    f"feature_{index:02d}",
                    FeatureKind.NUMERIC,
                    0.15,
                    method=Method.KOLMOGOROV_SMIRNOV,
                    score=float(score),
                    is_drifted=bool(score > 0.15),
                ),
            )
            for check, row in zip(checks, scores, strict=True)
            for index, score in enumerate(row)
        ),
        batch_size=5_000,
    )


def latest_samples() -> Iterator[tuple[StateMetric[Any], MetricGroup[Any], tuple[str, ...], Value]]:
    """Yield every sample of a scrape, from rows that are read again each time."""
    rows: list[Any] = list(samples_of_versions(list(served_versions())))
    latest = selectors.latest_checks_of_primary_versions()
    checks = selectors.checks_with_features([check.pk for check in latest])
    alerting = selectors.versions_with_alerting_incidents()
    for check in latest:
        rows += samples_of_check(check.model_name, checks[check.pk])
        rows.append((declarations.INCIDENT, (check.model_name,), check.version_id in alerting))
    rows.append((declarations.SCRAPE, (), True))
    for group, labels, row in rows:
        for metric in group.metrics:
            yield metric, group, labels, metric.value(row)


def _check(version: ModelVersion) -> DriftCheck:
    reference = ReferenceDataset.objects.create(
        version=version,
        file="references/none.csv",
        original_filename="none.csv",
        status="ready",
        rows=10_000,
        profile_file="profiles/none.arrow",
        profiled_at=timezone.now(),
    )
    return DriftCheck(
        version=version,
        reference=reference,
        status=CheckStatus.SUCCEEDED,
        window_end="1-0",
        rows_seen=1_000,
        n_reference=10_000,
        n_current=1_000,
        prediction_js_divergence=0.02,
        prediction_threshold=0.1,
        prediction_is_drifted=False,
    )
