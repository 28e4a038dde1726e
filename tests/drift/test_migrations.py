"""Policies of before the verdict keep what people had set, forwards and back."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE, AFTER = ("drift", "0001_initial"), ("drift", "0002_verdicts")


def _migrated(target: tuple[str, str]) -> Any:
    """Return the models' registry after migrating there."""
    executor = MigrationExecutor(connection)
    executor.migrate([target])
    return executor.loader.project_state([target, ("models_registry", "0001_initial")]).apps


@pytest.mark.django_db(transaction=True)
def test_thresholds_of_single_features_become_their_policies_and_back() -> None:
    try:
        before = _migrated(BEFORE)
        model = before.get_model("models_registry", "Model").objects.create(name="classifier")
        policy = before.get_model("drift", "DriftPolicy").objects.create(model_id=model.pk, interval_rows=70)
        before.get_model("drift", "FeatureThreshold").objects.create(
            policy=policy, feature_name="petal_width", threshold=0.3
        )
        after = _migrated(AFTER)
        (own,) = after.get_model("drift", "FeaturePolicy").objects.all()
        assert (own.feature_name, own.threshold, own.is_watched, own.method) == ("petal_width", 0.3, True, "")
        kept = after.get_model("drift", "DriftPolicy").objects.get()
        assert (kept.interval_rows, kept.mode, kept.false_alarm_budget) == (70, "verdict", 10_000)
        after.get_model("drift", "FeaturePolicy").objects.create(
            policy=kept, feature_name="petal_length", is_watched=False
        )
        after.get_model("drift", "DriftPolicy").objects.update(interval_rows=None)
        again = _migrated(BEFORE)
        assert again.get_model("drift", "FeatureThreshold").objects.get().threshold == 0.3
        assert again.get_model("drift", "DriftPolicy").objects.get().interval_rows == 100
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
