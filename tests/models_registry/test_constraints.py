"""Each database constraint of accounts, models_registry and monitoring refuses an invalid row."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import ApiToken, ChangeRecord, ServingGeneration
from models_registry.models import Model, ModelFeature, ModelVersion, ReferenceDataset
from monitoring.models import JobRun

pytestmark = pytest.mark.django_db


def version(**values: Any) -> ModelVersion:
    model, _ = Model.objects.get_or_create(name="m")
    defaults = {
        "model": model,
        "version": "1.0.0",
        "artefact": "a.onnx",
        "artefact_sha256": "0" * 64,
        "artefact_bytes": 1,
        "task_type": "classification",
    }
    return ModelVersion.objects.create(**(defaults | values))


def elsewhere(**values: Any) -> ModelVersion:
    return version(**({"artefact": "", "artefact_sha256": "", "artefact_bytes": None} | values))


def feature(**values: Any) -> ModelFeature:
    defaults = {"position": 0, "name": "x", "kind": "numeric", "input_name": "X", "column": 0, "tensor_type": "float32"}
    return ModelFeature.objects.create(**(defaults | values))


def reference(**values: Any) -> ReferenceDataset:
    defaults: dict[str, Any] = {"file": "r.csv", "original_filename": "r.csv"}
    return ReferenceDataset.objects.create(**(defaults | values))


def change(**values: Any) -> ChangeRecord:
    defaults = {"actor": "anna", "row_type": "a.b", "row_id": "1", "row_name": "b", "message": "Done."}
    return ChangeRecord.objects.create(**(defaults | values))


READY = {"status": "ready", "rows": 1, "profile_file": "p", "profiled_at": timezone.now()}


def two_features(**second: Any) -> None:
    owner = version()
    feature(version=owner)
    feature(**({"version": owner, "position": 1, "name": "y", "column": 1} | second))


def two_active_references() -> None:
    owner = version()
    for _ in range(2):
        reference(version=owner, is_active=True, **READY)


def two_tokens(**second: Any) -> None:
    ApiToken.objects.create(name="a", digest="a")
    ApiToken.objects.create(**({"name": "b", "digest": "b"} | second))


REFUSED: dict[str, Callable[[], object]] = {
    "registry_generation_is_one_row": lambda: ServingGeneration.objects.create(id=2),
    "model_version_is_unique": lambda: [version(), version()],
    "model_version_stage_is_known": lambda: version(stage="retired"),
    "only_production_versions_have_traffic": lambda: version(stage="staging", traffic_weight=1),
    "only_production_versions_have_traffic (production)": lambda: version(stage="production", traffic_weight=0),
    "model_version_task_type_is_known": lambda: version(task_type="clustering"),
    "model_version_artefact_is_whole_or_absent": lambda: version(artefact_bytes=0),
    "model_version_artefact_is_whole_or_absent (no bytes)": lambda: version(artefact_bytes=None),
    "model_version_artefact_is_whole_or_absent (no digest)": lambda: version(artefact_sha256=""),
    "model_version_artefact_is_whole_or_absent (no file)": lambda: version(artefact=""),
    "model_version_artefact_is_whole_or_absent (digest alone)": lambda: elsewhere(artefact_sha256="0" * 64),
    "model_version_artefact_is_whole_or_absent (bytes alone)": lambda: elsewhere(artefact_bytes=1),
    "model_version_artefact_is_whole_or_absent (normalised alone)": lambda: elsewhere(normalised="n.onnx"),
    "only_an_artefact_has_outputs": lambda: elsewhere(label_output="label"),
    "only_an_artefact_has_outputs (scores)": lambda: elsewhere(score_output="s", score_kind="probabilities"),
    "model_version_scores_have_a_kind": lambda: version(score_output="scores"),
    "model_version_scores_have_a_kind (none)": lambda: version(score_kind="logits"),
    "model_version_scores_have_a_kind (elsewhere)": lambda: elsewhere(score_kind="logits"),
    "model_version_runs_have_rows": lambda: version(rows_at_once=0),
    "feature_name_is_unique_in_version": lambda: two_features(name="x"),
    "feature_position_is_unique_in_version": lambda: two_features(position=0),
    "feature_tensor_column_is_unique_in_version": lambda: two_features(column=0),
    "feature_name_is_not_empty": lambda: feature(version=version(), name=""),
    "feature_kind_is_known": lambda: feature(version=version(), kind="text"),
    "string_features_are_categorical": lambda: feature(version=version(), tensor_type="string"),
    "one_active_reference_for_each_version": two_active_references,
    "active_reference_is_ready": lambda: reference(version=version(), is_active=True),
    "ready_reference_has_a_profile": lambda: reference(version=version(), **(READY | {"profile_file": ""})),
    "only_a_failed_reference_has_an_error": lambda: reference(version=version(), error_message="broke"),
    "only_a_failed_reference_has_an_error (failed)": lambda: reference(version=version(), status="failed"),
    "reference_status_is_known": lambda: reference(version=version(), status="lost"),
    "reference_progress_is_a_percentage": lambda: reference(version=version(), progress_percent=101),
    "token_scope_is_known": lambda: two_tokens(scope="root"),
    "token_has_a_digest": lambda: two_tokens(digest=""),
    "accounts_apitoken_digest": lambda: two_tokens(digest="a"),
    "accounts_apitoken_name": lambda: two_tokens(name="a"),
    "change_has_an_actor": lambda: change(actor=""),
    "change_says_something": lambda: change(message=""),
    "monitoring_jobrun_job_name": lambda: [
        JobRun.objects.create(job_name="j", last_started_at=timezone.now()) for _ in range(2)
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_constraint_refuses(name: str) -> None:
    with pytest.raises(IntegrityError, match=name.split(" ")[0]), transaction.atomic():
        REFUSED[name]()


def test_a_version_may_have_no_artefact() -> None:
    assert not elsewhere(score_kind="probabilities").is_served_here
    assert version(version="1.0.1").is_served_here


def test_every_declared_constraint_is_tested() -> None:
    declared = {
        constraint.name
        for model in (
            Model,
            ModelVersion,
            ModelFeature,
            ReferenceDataset,
            ServingGeneration,
            ChangeRecord,
            ApiToken,
            JobRun,
        )
        for constraint in model._meta.constraints
    }
    assert declared <= {name.split(" ")[0] for name in REFUSED}
