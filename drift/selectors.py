"""Policies, checks and due versions, as rows and as plain values."""

from collections.abc import Sequence

from django.db.models import OuterRef, QuerySet, Subquery

from drift.due import CheckedUpTo, is_check_due
from drift.models import CheckStatus, DriftCheck, DriftPolicy, FeatureDrift
from drift.report import DriftReport, Failure, ReportSource, ReportStatus, WindowSummary
from drift.results import ComparisonResult, Criteria, FeatureResult, Method, PredictionResult, ResultStatus, Thresholds
from inference.redis_client import redis_client
from inference.stream import rows_seen
from models_registry.exceptions import UnknownVersionError
from models_registry.models import (
    Model,
    ModelFeature,
    ModelVersion,
    ReferenceDataset,
    Stage,
    primary_first,
)
from models_registry.schema import FeatureKind

CHECKED_STAGES = (Stage.PRODUCTION, Stage.SHADOW)


def policy_for(model: Model) -> DriftPolicy:
    """Return the model's policy; the defaults, unsaved, where it has none."""
    try:
        return model.drift_policy
    except DriftPolicy.DoesNotExist:
        return DriftPolicy(model_id=model.pk)


def criteria_of(policy: DriftPolicy) -> Criteria:
    """Return what the policy asks a comparison for."""
    own = policy.feature_thresholds.all() if policy.pk else ()
    return Criteria(
        Thresholds(
            feature=policy.feature_threshold,
            prediction=policy.prediction_threshold,
            by_feature={row.feature_name: row.threshold for row in own},
        )
    )


def feature_names(model: Model) -> list[str]:
    """Return the names of the features of all versions of a model, each once."""
    names = ModelFeature.objects.filter(version__model=model).order_by("name").values_list("name", flat=True)
    return list(names.distinct())


def version_of(model: Model, version: str) -> ModelVersion:
    """Return a version of the model; UnknownVersionError where there is none."""
    try:
        return model.versions.select_related("model__drift_policy").get(version=version)
    except ModelVersion.DoesNotExist:
        raise UnknownVersionError(model.name, version) from None


def primary_version(model: Model) -> ModelVersion | None:
    """Return the production version with the most traffic, then the newest; None where none is in production."""
    versions = model.versions.filter(stage=Stage.PRODUCTION).select_related("model__drift_policy")
    return versions.order_by(*primary_first()).first()


def due_versions() -> list[ModelVersion]:
    """Return the production and shadow versions whose next check is due: one query, one round trip to Redis."""
    newest = DriftCheck.objects.filter(version=OuterRef("pk")).order_by("-id")
    active = ReferenceDataset.objects.filter(version=OuterRef("pk"), is_active=True)
    candidates = (
        ModelVersion.objects.filter(stage__in=CHECKED_STAGES, references__is_active=True)
        .select_related("model__drift_policy")
        .annotate(
            active_reference_id=Subquery(active.values("pk")[:1]),
            checked_rows=Subquery(newest.values("rows_seen")[:1]),
            checked_reference_id=Subquery(newest.values("reference_id")[:1]),
        )
        .order_by("pk")
    )
    enabled = [version for version in candidates if policy_for(version.model).is_enabled]
    seen = rows_seen(redis_client(), [version.pk for version in enabled])
    return [
        version
        for version in enabled
        if is_version_due(
            policy_for(version.model),
            rows_seen=seen[version.pk],
            reference_id=version.active_reference_id,
            last=None
            if version.checked_rows is None
            else CheckedUpTo(version.checked_rows, version.checked_reference_id),
        )
    ]


def is_version_due(policy: DriftPolicy, *, rows_seen: int, reference_id: int, last: CheckedUpTo | None) -> bool:
    """Return whether a check is due under `policy`."""
    return is_check_due(
        rows_seen=rows_seen,
        reference_id=reference_id,
        last=last,
        minimum_rows=policy.minimum_rows,
        interval_rows=policy.interval_rows,
    )


def newest_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's newest check, succeeded or failed."""
    return version.drift_checks.order_by("-id").first()


def newest_succeeded_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's newest check that has results."""
    return version.drift_checks.filter(status=CheckStatus.SUCCEEDED).order_by("-id").first()


def check_history(version: ModelVersion, *, limit: int, before: int | None = None) -> QuerySet[DriftCheck]:
    """Return the newest `limit` checks, results prefetched; with `before`, of those older than that check."""
    checks = version.drift_checks.order_by("-id").prefetch_related("features")
    if before is not None:
        checks = checks.filter(pk__lt=before)
    return checks[:limit]


def report_of_check(check: DriftCheck, version: ModelVersion) -> DriftReport:
    """Return a stored check as a report."""
    failed = check.status == CheckStatus.FAILED
    return DriftReport(
        model_name=version.model.name,
        model_version=version.version,
        status=ReportStatus.FAILED if failed else ReportStatus.OK,
        detail=check.error_message,
        source=ReportSource.STORED,
        check_id=check.pk,
        checked_at=check.created_at,
        window=WindowSummary(
            rows=check.n_current,
            rows_seen=check.rows_seen,
            end_id=check.window_end,
            started_at=check.window_started_at,
            ended_at=check.window_ended_at,
            reference_rows=check.n_reference,
        ),
        result=None if failed else result_of_check(check),
    )


def failure_of(check: DriftCheck | None) -> Failure | None:
    """Return why `check` failed; None where it did not."""
    if check is None or check.status != CheckStatus.FAILED:
        return None
    return Failure(check_id=check.pk, checked_at=check.created_at, reason=check.error_message)


def result_of_check(check: DriftCheck) -> ComparisonResult:
    """Return the stored rows of a check as the comparison that they came from."""
    return ComparisonResult(
        n_reference=check.n_reference,
        n_current=check.n_current,
        features=_feature_results(list(check.features.all())),
        prediction=PredictionResult(
            threshold=check.prediction_threshold or 0.0,
            status=ResultStatus(check.prediction_status),
            js_divergence=check.prediction_js_divergence,
            chi2_statistic=check.prediction_chi2_statistic,
            p_value=check.prediction_p_value,
            is_drifted=check.prediction_is_drifted,
            reference_dist=dict(check.prediction_reference_dist),
            current_dist=dict(check.prediction_current_dist),
        ),
    )


def _feature_results(rows: Sequence[FeatureDrift]) -> tuple[FeatureResult, ...]:
    return tuple(
        FeatureResult(
            name=row.feature_name,
            kind=FeatureKind(row.kind),
            threshold=row.threshold,
            status=ResultStatus(row.status),
            status_detail=row.status_detail,
            method=Method(row.method),
            score=row.score,
            is_drifted=row.is_drifted,
            statistic=row.statistic,
            p_value=row.p_value,
            reference_mean=row.reference_mean,
            current_mean=row.current_mean,
            n_reference=row.n_reference,
            n_current=row.n_current,
            n_missing_reference=row.n_missing_reference,
            n_missing_current=row.n_missing_current,
        )
        for row in rows
    )
