"""A model that another server serves, from the file of its reference to the verdict on its observations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from numpy.typing import NDArray
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from drift.models import DriftCheck
from drift.services.checks import run_drift_check
from drift.services.rebaselining import make_window_the_reference
from inference.services.archiving import archive_observations
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference, labelled_reference
from models_registry.services.references import profile_reference
from performance.selectors import latest_report
from performance.services.reports import NO_PROBABILITIES_IN_FILE, baseline_of, measure_version

pytestmark = pytest.mark.django_db

MODELS = "/api/v1/models"
LOANS = f"{MODELS}/loans"
LOST = {"feature": "predictions", "reason": "no_reference", "detail": "The reference has no predictions."}
Numbers = NDArray[np.float64]


class Bank:
    """The server that predicts: a loan is paid back with a probability that grows with the income."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def loans(self, n: int, *, mean_income: float = 50.0) -> list[dict[str, Any]]:
        """Return n loans with the prediction, its confidence and the outcome."""
        income = self.rng.normal(mean_income, 10, n).round(2)
        paid = 1 / (1 + np.exp(-(income - 45) / 6))
        outcome = self.rng.random(n) < paid
        regions = self.rng.choice(["north", "south", "east"], n)
        return [
            {
                "income": float(income[row]),
                "region": str(regions[row]),
                "prediction": "paid" if paid[row] >= 0.5 else "lost",
                "confidence": round(float(max(paid[row], 1 - paid[row])), 6),
                "actual": "paid" if outcome[row] else "lost",
            }
            for row in range(n)
        ]


def csv_of(loans: list[dict[str, Any]], *, without: tuple[str, ...] = ()) -> SimpleUploadedFile:
    names = [name for name in loans[0] if name not in without]
    lines = [",".join(str(loan[name]) for name in names) for loan in loans]
    return SimpleUploadedFile("loans.csv", "\n".join([",".join(names), *lines]).encode())


class Caller:
    """A program with a token."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {create_token(name='bank', scope='all')[1]}"}

    def post(self, path: str, body: Any) -> Any:
        response = self.client.post(path, body, content_type="application/json", headers=self.headers)
        return self._body(response)

    def send(self, path: str, **fields: Any) -> Any:
        return self._body(self.client.post(path, fields, headers=self.headers))

    def get(self, path: str) -> Any:
        return self._body(self.client.get(path, headers=self.headers))

    def observe(self, loans: list[dict[str, Any]]) -> list[str]:
        """Send predictions; return their ids."""
        rows = [
            {
                "features": {"income": loan["income"], "region": loan["region"]},
                "prediction": loan["prediction"],
                "confidence": loan["confidence"],
            }
            for loan in loans
        ]
        body = self.post(f"{LOANS}/observations", rows)
        assert body["counts"]["accepted"] == len(loans)
        return [one["prediction_id"] for one in body["results"]]

    def _body(self, response: Any) -> Any:
        assert response.status_code < 300, response.content
        return response.json()


@pytest.fixture
def caller(client: Client, redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> Caller:
    settings.MEDIA_ROOT = tmp_path
    settings.MLMON_API_ACCESS = "token"
    caller = Caller(client)
    caller.post(MODELS, {"name": "loans"})
    return caller


def registered(caller: Caller, loans: list[dict[str, Any]]) -> ModelVersion:
    """Register the version with the schema that the file suggests, in production."""
    inferred = caller.send(f"{LOANS}/inferred-schema", file=csv_of(loans))
    assert inferred["schema"] == {
        "task": "classification",
        "classes": ["lost", "paid"],
        "features": [
            {"name": "income", "type": "number", "required": True},
            {"name": "region", "type": "category", "required": True},
        ],
    }
    assert not ModelVersion.objects.exists()
    caller.post(f"{LOANS}/versions", {"version": "1.0.0", "schema": inferred["schema"]})
    caller.post(f"{LOANS}/versions/1.0.0/stage", {"stage": "production"})
    return ModelVersion.objects.get()


def referenced(caller: Caller, file: SimpleUploadedFile) -> ReferenceDataset:
    job = caller.send(f"{LOANS}/versions/1.0.0/reference", file=file)
    return profile_reference(reference_id=job["id"])


def checked(version: ModelVersion) -> DriftCheck:
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    return check


def test_from_a_file_to_a_verdict(caller: Caller, admin_client: Client) -> None:
    bank = Bank(seed=1)
    known = bank.loans(5000)
    version = registered(caller, known)
    reference = referenced(caller, csv_of(known))
    assert (reference.status, reference.is_active, reference.prediction_column) == ("ready", True, "prediction")
    assert (reference.label_column, reference.labelled_rows) == ("actual", 5000)

    # Traffic like the reference is quiet, and everything is compared.
    caller.observe(bank.loans(1000))
    quiet = checked(version)
    assert (quiet.verdict_status, quiet.n_compared, quiet.n_not_compared) == ("quiet", 2, 0)
    drift = caller.get(f"{LOANS}/drift")
    assert drift["verdict"]["status"] == "quiet"
    assert drift["coverage"] == {"compared": 2, "not_compared": [], "left_out": []}
    assert drift["prediction_drift"]["reference_dist"].keys() == {"lost", "paid"}

    # Performance is estimated from the confidences, and measured with ground truth.
    baseline = baseline_of(version)
    realised = np.mean([loan["prediction"] == loan["actual"] for loan in known])
    assert baseline.note == ""
    assert baseline.figures is not None
    assert baseline.figures["accuracy"] == pytest.approx(realised)
    loans = bank.loans(800)
    ids = caller.observe(loans)
    items = [{"prediction_id": one, "actual": loan["actual"]} for one, loan in zip(ids, loans, strict=True)]
    feedback = caller.post("/api/v1/feedback", items)
    assert {one["status"] for one in feedback["results"]} <= {"accepted", "unknown"}
    archive_observations(seconds=10)
    assert measure_version(version_id=version.pk)
    report = latest_report(version)
    assert report is not None
    assert report.realised is not None
    assert report.estimated is not None
    realised = np.mean([loan["prediction"] == loan["actual"] for loan in loans])
    assert report.realised["accuracy"] == pytest.approx(realised)
    expected = np.mean([loan["confidence"] for loan in loans])  # the confidences are the true probabilities
    assert report.estimated["accuracy"] == pytest.approx(expected, abs=0.03)

    # Incomes rise, and with them the predictions.
    caller.observe(bank.loans(1000, mean_income=60))
    alarm = checked(version)
    assert alarm.verdict_status == "alarm"
    listed = {found.subject for found in alarm.comparison.listed_hypotheses}
    assert listed >= {"income", "predictions"}
    assert "region" not in listed
    assert caller.get(f"{LOANS}/drift")["verdict"]["status"] == "alarm"
    assert version.drift_incidents.get().closed_at is None

    # The new level becomes the reference, with the predictions and confidences that were observed.
    window = make_window_the_reference(check=alarm, user=None)  # type: ignore[arg-type]  # nobody
    accepted = profile_reference(reference_id=window.pk)
    assert (accepted.status, accepted.error_message, accepted.is_active) == ("ready", "", True)
    assert accepted.prediction_column == "prediction"
    caller.observe(bank.loans(1000, mean_income=60))
    assert checked(version).prediction_is_drifted is False

    for path in ("/admin/", "/models/loans?range=1h"):
        assert admin_client.get(path).status_code == 200
    for name, row in (("drift_driftcheck", alarm), ("models_registry_referencedataset", accepted)):
        assert admin_client.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200


def test_without_predictions_the_verdict_is_incomplete_and_says_what_to_do(
    caller: Caller, admin_client: Client
) -> None:
    bank = Bank(seed=2)
    known = bank.loans(5000)
    version = registered(caller, known)
    reference = referenced(caller, csv_of(known, without=("prediction", "confidence")))
    assert (reference.status, reference.is_active) == ("ready", True)
    assert "upload the file again with a column of the model's predictions" in reference.predictions_note
    assert "No column of the file is named like predictions" in baseline_of(version).note
    caller.observe(bank.loans(1000))
    check = checked(version)
    assert (check.verdict_status, check.n_compared, check.n_not_compared) == ("incomplete", 2, 1)
    drift = caller.get(f"{LOANS}/drift")
    assert drift["coverage"] == {"compared": 2, "not_compared": [LOST], "left_out": []}
    assert drift["verdict"]["sentence"].startswith("Incomplete: The predictions could not be compared. No drift in")
    page = admin_client.get(reverse("admin:drift_driftcheck_change", args=[check.pk])).content.decode()
    assert "predictions</strong>: no reference. The reference has no predictions." in page
    assert "make the window of a check the reference" in page
    overview = admin_client.get("/admin/").content.decode()
    assert "could not compare the predictions, so drift may not be noticed." in overview
    assert "the predictions: no reference. Upload the reference data again" in overview
    metrics = caller.client.get("/metrics", headers=caller.headers).content.decode()
    assert 'ml_drift_features_not_compared{model_name="loans"} 1.0' in metrics

    caller.observe(bank.loans(1000, mean_income=60))  # features are compared all the same
    assert checked(version).verdict_status == "alarm"

    # As the advice says: the same file again with predictions; without their probabilities, nothing is estimated.
    referenced(caller, csv_of(known, without=("confidence",)))
    without_confidence = baseline_of(version)
    assert without_confidence.note == NO_PROBABILITIES_IN_FILE
    assert without_confidence.figures is not None
    referenced(caller, csv_of(known))
    caller.observe(bank.loans(1000))
    complete = checked(version)
    assert (complete.verdict_status, complete.n_not_compared) == ("quiet", 0)


def test_a_window_with_the_probabilities_of_many_classes_becomes_the_reference(caller: Caller) -> None:
    schema = {
        "task": "classification",
        "classes": ["a", "b", "c"],
        "features": [{"name": "prediction", "type": "number"}],
    }
    caller.post(f"{LOANS}/versions", {"version": "1.0.0", "schema": schema})
    caller.post(f"{LOANS}/versions/1.0.0/stage", {"stage": "production"})
    version, rng = ModelVersion.objects.get(), np.random.default_rng(4)
    lines = "\n".join(f"{value},{'abc'[n % 3]}" for n, value in enumerate(rng.normal(size=1500).tolist()))
    file = SimpleUploadedFile("r.csv", f"prediction,predicted\n{lines}".encode())
    assert referenced(caller, file).prediction_column == "predicted"
    shares = rng.dirichlet([1, 1, 1], 600)
    rows = [
        {
            "features": [float(rng.normal())],
            "prediction": "abc"[int(share.argmax())],
            "probabilities": dict(zip("abc", share.tolist(), strict=True)),
        }
        for share in shares
    ]
    caller.post(f"{LOANS}/observations", rows)
    window = make_window_the_reference(check=checked(version), user=None)  # type: ignore[arg-type]  # nobody
    assert window.prediction_column == "prediction_"  # the feature has the other name
    accepted = profile_reference(reference_id=window.pk)
    assert (accepted.error_message, accepted.predictions_note) == ("", "")
    assert active_reference(version.pk) == accepted
    assert accepted.ignored_columns == []
    assert labelled_reference(accepted) is None
    assert json.loads(json.dumps(accepted.notes)) == []
