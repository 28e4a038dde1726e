"""The predictions in the reference data of a version that is served elsewhere: columns, values, and what lacks."""

import hashlib
import json
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from pytest_django.fixtures import Settings

from mlmon.profile import FORMAT_VERSION, CategoricalProfile, NumericProfile
from models_registry.admin.references import ReferenceUploadForm
from models_registry.exceptions import PredictionColumnError
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import labelled_reference, load_profile
from models_registry.services.references import (
    digest_of_upload,
    profile_reference,
    rebuild_next_profile,
    upload_reference,
)
from tests.factories import uploaded_version, version_served_elsewhere

pytestmark = pytest.mark.django_db

NO = "the predictions of windows are not compared"
BINARY = {"classes": ["no", "yes"], "features": ["x"]}
THREE = {"classes": ["a", "b", "c"], "features": ["x"]}
NUMBER: dict[str, Any] = {"task": "regression", "classes": [], "features": ["x"]}


@pytest.fixture(autouse=True)
def _media(settings: Settings, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def profiled(document: dict[str, Any], content: bytes | str, **options: Any) -> ReferenceDataset:
    """Return the reference of a new version, profiled."""
    version = version_served_elsewhere("loans", **document)
    file = ContentFile(content.encode() if isinstance(content, str) else content)
    uploaded = upload_reference(version=version, file=file, filename="rows.csv", enqueue=False, **options)
    return profile_reference(reference_id=uploaded.pk)


def labelled(reference: ReferenceDataset) -> dict[str, list[Any]]:
    table = labelled_reference(reference)
    assert table is not None
    return table.to_pydict()


@pytest.mark.parametrize("name", ["prediction", "Predicted", "y_pred", "pred"])
def test_the_column_of_predictions_is_found_by_its_name(name: str) -> None:
    reference = profiled(BINARY, f"x,{name},actual\n1,yes,no\n2,no,no\n3,yes,yes\n")
    assert (reference.status, reference.prediction_column, reference.predictions_note) == ("ready", name, "")
    assert (reference.label_column, reference.labelled_rows, reference.ignored_columns) == ("actual", 3, [])
    prediction = load_profile(reference).prediction
    assert isinstance(prediction, CategoricalProfile)
    assert (prediction.categories, prediction.counts.tolist()) == (("no", "yes"), [1, 2])
    assert labelled(reference) == {"prediction": ["yes", "no", "yes"], "actual": ["no", "no", "yes"]}


def test_a_named_column_has_the_predictions() -> None:
    reference = profiled(BINARY, "x,out,prediction\n1,yes,?\n2,no,?\n", prediction_column="out")
    assert (reference.prediction_column, reference.ignored_columns) == ("out", ["prediction"])


def test_predictions_are_not_taken_for_ground_truth() -> None:
    reference = profiled(BINARY, "x,prediction\n1,yes\n2,no\n3,yes\n")
    assert (reference.label_column, reference.labelled_rows) == ("", 0)
    assert reference.labels_note == "No column of the file looks like ground truth."
    by_values = profiled(BINARY | {"version": "1.0.1"}, "x,prediction,paid\n1,yes,no\n2,no,yes\n")
    assert (by_values.prediction_column, by_values.label_column) == ("prediction", "paid")


def test_classes_are_matched_by_their_meaning() -> None:
    document = BINARY | {"classes": ["0", "1"]}
    reference = profiled(document, "x,prediction,actual\n1,1.0,True\n2,0,False\n")
    assert labelled(reference) == {"prediction": ["1", "0"], "actual": ["1", "0"]}


def test_numbers_are_read_as_the_file_writes_them() -> None:
    reference = profiled(NUMBER, "x;prediction;actual\n1,5;2,25;2\n2,5;3,5;4\n")
    prediction = load_profile(reference).prediction
    assert isinstance(prediction, NumericProfile)
    assert prediction.sorted_values.tolist() == [2.25, 3.5]
    assert labelled(reference) == {"prediction": [2.25, 3.5], "actual": [2.0, 4.0]}


def test_rows_are_put_in_the_order_of_time_with_their_predictions() -> None:
    content = "x,date,prediction,confidence,actual\n2,2026-01-02,no,.7,no\n1,2026-01-01,yes,.9,yes\n"
    reference = profiled(BINARY, content)
    assert reference.time_column == "date"
    found = labelled(reference)
    assert (found["prediction"], found["confidence"], found["actual"]) == (["yes", "no"], [0.9, 0.7], ["yes", "no"])


# --- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["confidence", "probability", "probability_yes", "probability_no"])
def test_one_column_determines_both_probabilities(name: str) -> None:
    given = {"probability_yes": ".9,.4", "probability_no": ".1,.6"}.get(name, ".9,.6").split(",")
    reference = profiled(BINARY, f"x,prediction,actual,{name}\n1,yes,yes,{given[0]}\n2,no,yes,{given[1]}\n")
    assert labelled(reference)["confidence"] == pytest.approx([0.9, 0.6])
    assert reference.ignored_columns == []


def test_all_classes_have_probabilities() -> None:
    header = "x,prediction,actual,probability_b,probability_a,probability_c"
    reference = profiled(THREE, f"{header}\n1,a,a,.2,.7,.1\n2,b,c,.8,.1,.1\n3,c,c,,,\n")
    found = labelled(reference)
    assert found["confidence"][:2] == pytest.approx([0.7, 0.8])
    assert np.isnan(found["confidence"][2])
    assert found["scores"][:2] == [pytest.approx([0.7, 0.2, 0.1]), pytest.approx([0.1, 0.8, 0.1])]
    assert found["scores"][2] is None


@pytest.mark.parametrize(
    ("columns", "first", "second", "reason"),
    [
        ("confidence", "97", "80", 'Column "confidence", row 1: a probability is a number from 0 to 1.'),
        ("confidence", ".9", "high", 'Column "confidence", row 2: expected a number, got "high".'),
        ("confidence,probability", ".9,.9", ".8,.8", 'Several columns may have them: "confidence", "probability".'),
        ("probability_a", ".9", ".8", 'no column "probability_b"'),
        ("probability_a,probability_b,probability_c", ".9,.9,.9", ".3,.3,.4", "Row 1: the probabilities must sum to 1"),
    ],
)
def test_wrong_probabilities_are_not_used_and_the_note_says_why(
    columns: str, first: str, second: str, reason: str
) -> None:
    reference = profiled(THREE, f"x,prediction,actual,{columns}\n1,a,a,{first}\n2,b,b,{second}\n")
    assert (reference.status, reference.prediction_column) == ("ready", "prediction")
    assert reason in reference.predictions_note
    assert "performance is not estimated" in reference.predictions_note
    assert set(labelled(reference)) == {"prediction", "actual"}
    assert reference.ignored_columns == columns.split(",")


def test_a_feature_may_be_named_confidence() -> None:
    document = BINARY | {"features": ["confidence"]}
    reference = profiled(document, "confidence,prediction,actual\n97,yes,yes\n80,no,no\n")
    assert (reference.status, reference.predictions_note) == ("ready", "")
    assert set(labelled(reference)) == {"prediction", "actual"}


# --- without predictions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [BINARY, NUMBER])
def test_without_predictions_features_are_profiled_and_a_note_says_what_to_do(document: dict[str, Any]) -> None:
    reference = profiled(document, "x,actual,date\n1,1,2026-01-01\n2,2,2026-01-02\n", label_column="")
    assert (reference.status, reference.is_active, reference.prediction_column) == ("ready", True, "")
    assert reference.predictions_note.startswith("No column of the file is named like predictions.")
    assert NO in reference.predictions_note
    assert labelled_reference(reference) is None
    profile = load_profile(reference)
    assert (list(profile.features), profile.n_rows, profile.prediction.n_missing) == (["x"], 2, 0)


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("prediction", "yes,maybe", 'row 2: "maybe" is not one of the model\'s classes: no, yes.'),
        ("prediction", "yes,", "row 2: every row needs a prediction, but it is missing."),
        ("pred,y_pred", "yes,no;yes,no", "Several columns are named like predictions: pred, y_pred."),
    ],
)
def test_a_detected_column_that_cannot_be_used_is_a_note(column: str, values: str, reason: str) -> None:
    rows = values.split(";") if ";" in values else values.split(",")
    reference = profiled(BINARY, f"x,{column}\n1,{rows[0]}\n2,{rows[1]}\n")
    assert (reference.status, reference.prediction_column) == ("ready", "")
    assert reason in reference.predictions_note
    assert NO in reference.predictions_note


@pytest.mark.parametrize(
    ("document", "content", "options", "reason"),
    [
        (BINARY, "x,p\n1,yes\n2,maybe\n", {}, 'Column "p", row 2: "maybe" is not one of the model\'s classes'),
        (BINARY, "x,p\n1,yes\n2,\n", {}, 'Column "p", row 2: every row needs a prediction'),
        (BINARY, "x,q\n1,yes\n", {}, 'The file has no column "p" for the predictions. Its columns are: x, q.'),
        (BINARY, "x,p,p\n1,yes,no\n", {}, 'The file has several columns "p".'),
        (BINARY, "x,p\n1,yes\n", {"label_column": "p"}, 'Column "p" is named for the ground truth or the times'),
        (BINARY, "x,p\n1,yes\n", {"prediction_column": "x"}, 'Column "x" is a feature of the model'),
        (NUMBER, "x,p\n1,2\n2,inf\n", {}, 'Column "p", row 2: a prediction must be a finite number.'),
        (NUMBER, "x,p\n1,2\n2,NA\n", {}, 'Column "p", row 2: a value is required, but it is missing.'),
        (NUMBER, "x,p\n1,2\n2,much\n", {}, 'Column "p", row 2: expected a number, got "much".'),
        (NUMBER, f"x,p\n1,2\n2,{'9' * 20_000}\n", {}, 'Column "p", row 2: the string is longer than 1,000 characters'),
    ],
)
def test_a_named_column_that_cannot_be_used_is_an_error(
    document: dict[str, Any], content: str, options: dict[str, str], reason: str
) -> None:
    reference = profiled(document, content, **({"prediction_column": "p"} | options))
    assert (reference.status, reference.is_active) == ("failed", False)
    assert reason in reference.error_message


def test_a_list_is_no_prediction() -> None:
    sink = BytesIO()
    pq.write_table(pa.table({"x": [1.0, 2.0], "p": [[1.0], [2.0]]}), sink)
    for document in (NUMBER, BINARY | {"version": "1.0.1"}):
        reference = profiled(document, sink.getvalue(), prediction_column="p")
        assert 'Column "p" has neither strings nor numbers' in reference.error_message


def test_an_outdated_profile_is_rebuilt_with_its_predictions() -> None:
    reference = profiled(BINARY, "x,out,actual\n1,yes,no\n2,no,no\n", prediction_column="out")
    before = load_profile(reference).prediction
    ReferenceDataset.objects.update(profile_format=FORMAT_VERSION - 1)
    assert rebuild_next_profile() == reference
    reference.refresh_from_db()
    after = load_profile(reference).prediction
    assert isinstance(before, CategoricalProfile)
    assert isinstance(after, CategoricalProfile)
    assert (reference.profile_format, reference.prediction_column) == (FORMAT_VERSION, "out")
    assert after.counts.tolist() == before.counts.tolist() == [1, 1]


# --- entry points -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served_here() -> ModelVersion:
    return uploaded_version("classifier")


def test_no_column_is_named_for_a_version_that_predicts_itself(served_here: ModelVersion) -> None:
    file = SimpleUploadedFile("rows.csv", b"a\n1\n")
    with pytest.raises(PredictionColumnError, match="mlmon predicts the rows itself"):
        upload_reference(version=served_here, file=file, filename="rows.csv", prediction_column="p")
    form = ReferenceUploadForm({"version": served_here.pk, "prediction_column": "p"}, MultiValueDict({"file": [file]}))
    assert "mlmon predicts the rows itself" in form.errors["prediction_column"][0]
    assert not ReferenceDataset.objects.exists()


def test_the_digest_of_earlier_uploads_is_the_same() -> None:
    file = ContentFile(b"a\n1\n")
    content = hashlib.sha256(b"a\n1\n").hexdigest()
    earlier = hashlib.sha256(json.dumps([content, "y", "t", "utf-8", "NA"]).encode()).hexdigest()
    options: dict[str, Any] = {"label_column": "y", "time_column": "t", "encoding": "utf-8", "missing_values": ["NA"]}
    assert digest_of_upload(file, **options) == earlier
    assert digest_of_upload(file, **options, prediction_column="p") != earlier


def test_the_page_shows_the_column_or_what_to_do(client: Client, admin_client: Client) -> None:
    def page(reference: ReferenceDataset) -> str:
        return admin_client.get(
            reverse("admin:models_registry_referencedataset_change", args=[reference.pk])
        ).content.decode()

    found = page(profiled(BINARY, "x,out\n1,yes\n2,no\n", prediction_column="out"))
    assert "Column out." in found
    assert "not compared" not in found
    lacking = page(profiled(BINARY | {"version": "1.0.1"}, "x\n1\n2\n"))
    assert "not compared" in lacking
    assert "upload the file again with a column of the model" in lacking
    of_numbers = page(profiled(NUMBER | {"version": "1.0.2"}, "x\n1\n2\n"))
    assert "upload the file again with a column of the model" in of_numbers
