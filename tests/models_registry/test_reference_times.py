"""The times in reference files: their column, their values, the order of the rows, and the model's time zone."""

import io
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from accounts.models import ChangeRecord
from mlmon.exceptions import ReferenceFileError
from mlmon.profile import NumericProfile, ReferenceProfile
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import ReadOptions, ReferenceTable, TableLimits
from models_registry.models import Model, ModelVersion, ReferenceDataset, ReferenceStatus
from models_registry.reference_times import ReferenceTimes, read_times
from models_registry.selectors import active_reference, labelled_reference, load_profile
from models_registry.services.references import profile_reference, rebuild_next_profile, upload_reference
from models_registry.services.versions import register_model, save_changed_model
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.mlmon.observed import iris_rows

LIMITS = TableLimits(file_bytes=10**7, rows=10**6)
X = Feature("x", FeatureKind.NUMERIC, False, "x", 0, TensorType.FLOAT64)
NEW_YORK = "America/New_York"
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)  # 08:00 in New York
HOUR = timedelta(hours=1)


def us(*times: datetime) -> list[int]:
    """Return times as whole microseconds since 1970, as NumPy has them."""
    return [int(np.datetime64(time.replace(tzinfo=None), "us").astype(np.int64)) for time in times]


def times_of_csv(folder: Path, content: str, chosen: str = "", missing: frozenset[str] = frozenset()) -> ReferenceTimes:
    path = folder / "reference.csv"
    path.write_text(content)
    table = ReferenceTable(path, [X], LIMITS, ReadOptions(missing=missing))
    return read_times(table, chosen, NEW_YORK, features=["x"], label_column="")


def times_of_parquet(folder: Path, columns: dict[str, Any], chosen: str = "", label_column: str = "") -> ReferenceTimes:
    path = folder / "reference.parquet"
    pq.write_table(pa.table({"x": [1.0] * len(next(iter(columns.values()))), **columns}), path)
    return read_times(ReferenceTable(path, [X], LIMITS), chosen, NEW_YORK, features=["x"], label_column=label_column)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timestamp", "Time", "observed_at", "datetime", "ts", "DATE"])
def test_a_column_of_a_csv_file_is_detected_by_its_name(tmp_path: Path, name: str) -> None:
    found = times_of_csv(tmp_path, f"x,{name}\n1,2026-07-01T12:00:00Z\n2,\n3,NA\n4, 2026-07-01T13:00:00Z\n")
    assert found.instants is not None
    gone = np.iinfo(np.int64).min
    assert (found.column, found.instants.tolist()) == (name, [*us(NOON), gone, gone, *us(NOON + HOUR)])
    assert (found.timed_rows, found.ends()) == (2, (NOON, NOON + HOUR))


@pytest.mark.parametrize("kind", [pa.timestamp("ns", "UTC"), pa.timestamp("s"), pa.date32(), pa.date64()])
def test_the_only_column_of_times_in_parquet_is_detected_by_its_type(tmp_path: Path, kind: Any) -> None:
    found = times_of_parquet(tmp_path, {"flown": pa.array(["1970-01-01", None]).cast(pa.timestamp("s")).cast(kind)})
    assert found.column == "flown"
    assert found.instants is not None
    midnight = 0 if getattr(kind, "tz", None) else 5 * 3600 * 10**6  # New York was five hours behind UTC
    assert found.instants.tolist() == [midnight, np.iinfo(np.int64).min]


def test_two_columns_that_fit_are_not_detected_but_can_be_named(tmp_path: Path) -> None:
    content = "x,date,time\n1,2026-07-01T08:00:00,2026-07-01T09:00:00\n"
    assert times_of_csv(tmp_path, content) == ReferenceTimes(
        zone=NEW_YORK, note="Several columns look like times: date, time. Name one when you upload the file."
    )
    found = times_of_csv(tmp_path, content, "time")
    assert found.instants is not None
    assert found.instants.tolist() == us(NOON + HOUR)
    columns = {"flown": [NOON], "ts": ["2026-07-01"]}
    assert times_of_parquet(tmp_path, columns).note.startswith("Several columns look like times: flown, ts.")


def test_a_column_of_ground_truth_is_no_time(tmp_path: Path) -> None:
    assert times_of_parquet(tmp_path, {"date": ["2026-07-01"]}, label_column="date").column == ""


@pytest.mark.parametrize("name", ["flown\0", "f" * 256])
def test_a_column_whose_name_cannot_be_stored_is_not_detected(tmp_path: Path, name: str) -> None:
    assert times_of_parquet(tmp_path, {name: [NOON]}).note == "No column of the file looks like times."
    assert times_of_parquet(tmp_path, {name: [NOON], "arrived": [NOON]}).column == "arrived"


def test_a_file_without_times_says_so(tmp_path: Path) -> None:
    assert times_of_csv(tmp_path, "x,applied\n1,2026-07-01\n").note == "No column of the file looks like times."


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("1,2026-07-01\n2,soon\n", 'Column "time", row 2: expected a time from 1900 to 2100, such as .*, got "soon"'),
        ("1,10:30\n", 'Column "time", row 1: expected a time .*, got "10:30"'),
        (
            "1,\n2,2026-03-08 02:30\n",
            'Column "time", row 2: clocks in America/New_York never showed "2026-03-08 02:30"',
        ),
        ("1,\n2,nan\n", 'Column "time" has no times: all its values are missing'),
        (f"1,{'9' * 200}\n", 'Column "time", row 1: expected a time, got a string of more than 100 bytes'),
    ],
)
def test_a_value_that_is_no_time_is_an_error_in_a_named_column_and_a_note_in_another(
    tmp_path: Path, rows: str, reason: str
) -> None:
    with pytest.raises(ReferenceFileError, match=reason) as error:
        times_of_csv(tmp_path, "x,time\n" + rows, "time")
    detected = times_of_csv(tmp_path, "x,time\n" + rows)
    assert (detected.column, detected.instants) == ("", None)
    assert detected.note == f'Column "time" is not used as times. {error.value}'


def test_unix_times_are_read_from_a_named_column_only(tmp_path: Path) -> None:
    seconds = int(NOON.timestamp())
    for content, column in ((f"x,ts\n1,{seconds}\n", "ts"), (f"x,when\n1,{seconds}000\n", "when")):
        found = times_of_csv(tmp_path, content, column)
        assert found.instants is not None
        assert found.instants.tolist() == us(NOON)
    assert (
        "is a number, which is a time only if its column is named"
        in times_of_csv(tmp_path, content.replace("when", "ts")).note
    )
    assert times_of_parquet(tmp_path, {"ts": [seconds]}).column == ""
    assert times_of_parquet(tmp_path, {"ts": [seconds]}, "ts").ends() == (NOON, NOON)


def test_further_strings_that_are_missing(tmp_path: Path) -> None:
    content = "x,time\n1,9999-12-31\n2,2026-07-01T12:00:00Z\n"
    assert times_of_csv(tmp_path, content, "time", frozenset({"9999-12-31"})).timed_rows == 1
    with pytest.raises(ReferenceFileError, match="9999-12-31"):
        times_of_csv(tmp_path, content, "time")


@pytest.mark.parametrize(
    ("header", "reason"),
    [("x,a,b", 'The file has no column "time" for the times. Its columns are: x, a, b.'), ("x,time,time", "several")],
)
def test_a_named_column_must_exist_once(tmp_path: Path, header: str, reason: str) -> None:
    with pytest.raises(ReferenceFileError, match=reason):
        times_of_csv(tmp_path, f"{header}\n1,2026-07-01,2026-07-01\n", "time")


def test_rows_without_a_time_come_last_and_equal_times_keep_their_order() -> None:
    gone = np.iinfo(np.int64).min
    order = ReferenceTimes("t", np.array([gone, 5, 3, gone, 3, -1])).order()
    assert order is not None
    assert order.tolist() == [5, 2, 4, 1, 0, 3]
    assert ReferenceTimes("t", np.array([-1, 3, 3, gone])).order() is None


# --- profiles -------------------------------------------------------------------------------------------------------


@pytest.fixture
def version(db: None) -> ModelVersion:
    return uploaded_version("classifier")


def rows_in_time(n: int = 2000) -> pa.Table:
    """Return flowers with a dependent sepal length, one every 20 minutes from 2025-01-01 on, and their times."""
    rng = np.random.default_rng(3)
    rows, noise = iris_rows(n), rng.normal(size=n)
    for row in range(1, n):
        noise[row] += 0.9 * noise[row - 1]
    rows[:, 0] = 6 + 0.2 * noise
    start = np.datetime64("2025-01-01T00:00:00")
    columns: dict[str, Any] = {name: rows[:, place] for place, name in enumerate(IRIS_FEATURES)}
    times = start + np.arange(n) * np.timedelta64(20, "m")
    return pa.table(
        {**columns, "species": rng.choice(["setosa", "virginica"], n), "observed_at": np.datetime_as_string(times)}
    )


def csv_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue()


def shuffled(table: pa.Table) -> pa.Table:
    return table.take(np.random.default_rng(4).permutation(table.num_rows))


def profiled(version: ModelVersion, table: pa.Table, **options: Any) -> ReferenceDataset:
    file = ContentFile(csv_of(table))
    reference = upload_reference(version=version, file=file, filename="flowers.csv", enqueue=False, **options)
    return profile_reference(reference_id=reference.pk)


def phi(profile: ReferenceProfile) -> float:
    column = profile.features["sepal_length"]
    assert isinstance(column, NumericProfile)
    return column.dependence.at(500).phi


def test_a_file_is_profiled_in_the_order_of_time(version: ModelVersion) -> None:
    """The AR(1) process of .9 has phi = (1 + .9)/(1 - .9) = 19 for its mean; shuffled rows have 1."""
    ordered = profiled(version, rows_in_time())
    unordered = profiled(version, shuffled(rows_in_time()))
    assert (unordered.status, unordered.time_column) == (ReferenceStatus.READY, "observed_at")
    assert load_profile(unordered).to_bytes() == load_profile(ordered).to_bytes()
    assert phi(load_profile(unordered)) > 8
    without = profiled(version, shuffled(rows_in_time()).drop_columns(["observed_at"]))
    assert phi(load_profile(without)) < 1.5
    assert (without.time_column, without.times_note) == ("", "No column of the file looks like times.")


def test_a_file_that_is_sorted_by_a_feature_is_unsorted_by_its_times(version: ModelVersion) -> None:
    table = rows_in_time().sort_by("sepal_length")
    with_times, without = (profiled(version, each) for each in (table, table.drop_columns(["observed_at"])))
    columns = [load_profile(each).features["sepal_length"] for each in (with_times, without)]
    assert [column.looks_sorted for column in columns] == [False, True]


def test_labels_and_predictions_stay_with_their_rows(version: ModelVersion) -> None:
    table = rows_in_time()
    actual = [None if row % 7 == 0 else name for row, name in enumerate(table.column("species").to_pylist())]
    table = table.set_column(4, "species", pa.array(actual, pa.string()))
    ordered, unordered = (profiled(version, each, label_column="species") for each in (table, shuffled(table)))
    assert ordered.labelled_rows == unordered.labelled_rows == sum(name is not None for name in actual)
    labelled, expected = labelled_reference(unordered), labelled_reference(ordered)
    assert labelled is not None
    assert expected is not None
    assert labelled.column("actual").to_pylist() == [name for name in actual if name is not None]
    assert labelled.equals(expected)


def test_a_row_is_named_by_its_place_in_the_file(version: ModelVersion) -> None:
    table = shuffled(rows_in_time(100))
    wide = [str(value) for value in table.column("petal_width").to_pylist()]
    wide[41] = "wide"
    failed = profiled(version, table.set_column(3, "petal_width", pa.array(wide)))
    assert failed.error_message == 'Column "petal_width", row 42: expected a number, got "wide".'


def test_a_wrong_time_in_a_named_column_fails(version: ModelVersion) -> None:
    table = rows_in_time(100).rename_columns([*IRIS_FEATURES, "species", "flown"])
    times = table.column("flown").to_pylist()
    times[6] = "later"
    failed = profiled(version, table.set_column(5, "flown", pa.array(times)), time_column="flown")
    assert failed.status == ReferenceStatus.FAILED
    assert 'Column "flown", row 7: expected a time' in failed.error_message


# --- the time zone --------------------------------------------------------------------------------------------------


def test_a_change_of_the_time_zone_rebuilds_the_profiles(version: ModelVersion) -> None:
    reference = profiled(version, rows_in_time(1000))
    first = datetime(2025, 1, 1, tzinfo=UTC)
    assert reference.first_time == first
    version.model.description = "Flowers."
    save_changed_model(model=version.model)
    assert rebuild_next_profile() is None
    version.model.time_zone = NEW_YORK
    save_changed_model(model=version.model)
    assert load_profile(reference).zone == "UTC"
    rebuilt = rebuild_next_profile()
    assert rebuilt == reference
    assert rebuilt.first_time == first + 5 * HOUR
    assert load_profile(rebuilt).zone == NEW_YORK
    assert rebuilt.is_active
    assert load_profile(rebuilt).n_rows == 1000
    assert rebuild_next_profile() is None


def test_times_that_the_new_zone_skips_leave_the_profile_as_it_was(version: ModelVersion) -> None:
    reference = profiled(version, rows_in_time(6000))  # until March 25
    version.model.time_zone = NEW_YORK
    save_changed_model(model=version.model)
    kept = rebuild_next_profile()
    assert kept is not None
    assert (kept.profile_file, kept.profile_format) == (reference.profile_file, None)
    assert 'could not be rebuilt: Column "observed_at"' in kept.notes[-1]
    assert 'clocks in America/New_York never showed "2025-03-09T02:00:00"' in kept.notes[-1]
    version.model.time_zone = "UTC"
    save_changed_model(model=version.model)
    rebuilt = rebuild_next_profile()
    assert rebuilt is not None
    assert (rebuilt.profile_file, rebuilt.notes) == (reference.profile_file, [])


def test_a_time_zone_that_changes_during_the_profiling_counts(version: ModelVersion) -> None:
    file = ContentFile(csv_of(rows_in_time(500)))
    uploaded = upload_reference(version=version, file=file, filename="flowers.csv", enqueue=False)

    def change(step: str, percent: int) -> None:
        if step == "saving":
            model = Model.objects.get(pk=version.model_id)
            model.time_zone = NEW_YORK
            save_changed_model(model=model)

    reference = profile_reference(reference_id=uploaded.pk, on_progress=change)
    assert reference.first_time == datetime(2025, 1, 1, tzinfo=UTC)
    rebuilt = rebuild_next_profile()
    assert rebuilt == reference
    assert rebuilt.first_time == datetime(2025, 1, 1, 5, tzinfo=UTC)


@pytest.mark.django_db
def test_a_model_has_a_time_zone_of_the_database() -> None:
    assert register_model(name="flights", time_zone=NEW_YORK).time_zone == NEW_YORK
    with pytest.raises(ValidationError, match=r'There is no time zone "New_York". Is it America/New_York\?'):
        register_model(name="trains", time_zone="New_York")
    call_command("register_model", "ships", "--time-zone", "Europe/Oslo", stdout=StringIO())
    assert Model.objects.get(name="ships").time_zone == "Europe/Oslo"
    with pytest.raises(CommandError, match="Is it Europe/Oslo"):
        call_command("register_model", "boats", "--time-zone", "oslo", stdout=StringIO())


# --- entry points ---------------------------------------------------------------------------------------------------


def test_the_time_zone_is_changed_in_the_admin(version: ModelVersion, admin_client: Client) -> None:
    profiled(version, rows_in_time(500))
    page = reverse("admin:models_registry_model_change", args=[version.model_id])
    refused = admin_client.post(page, {"description": "", "time_zone": "Berlin"})
    assert "There is no time zone &quot;Berlin&quot;. Is it Europe/Berlin?" in refused.content.decode()
    assert rebuild_next_profile() is None
    assert admin_client.post(page, {"description": "", "time_zone": "Europe/Berlin"}).status_code == 302
    assert ChangeRecord.objects.latest("pk").changes == [["Time zone", "UTC", "Europe/Berlin"]]
    reference = ReferenceDataset.objects.get()
    report = reverse("admin:models_registry_referencedataset_change", args=[reference.pk])
    waiting = "The profile will be rebuilt for the model&#x27;s time zone, Europe/Berlin."
    assert waiting in admin_client.get(report).content.decode()
    rebuilt = rebuild_next_profile()
    assert rebuilt is not None
    assert rebuilt.first_time == datetime(2024, 12, 31, 23, tzinfo=UTC)
    assert waiting not in admin_client.get(report).content.decode()
    shown = admin_client.get(reverse("model-page", args=["classifier"])).content.decode()
    assert "time zone of the model: Europe/Berlin" in shown


def test_the_time_column_is_named_in_the_admin(version: ModelVersion, admin_client: Client) -> None:
    Model.objects.update(time_zone=NEW_YORK)
    table = rows_in_time(500).rename_columns([*IRIS_FEATURES, "species", "flown"])
    times = [None if row < 20 else time for row, time in enumerate(table.column("flown").to_pylist())]
    table = shuffled(table.set_column(5, "flown", pa.array(times, pa.string())))
    sent = {"version": version.pk, "file": ContentFile(csv_of(table), "flights.csv"), "time_column": "flown"}
    admin_client.post(reverse("admin:models_registry_referencedataset_add"), sent)
    reference = ReferenceDataset.objects.get()
    assert profile_reference(reference_id=reference.pk).error_message == ""
    page = reverse("admin:models_registry_referencedataset_change", args=[reference.pk])
    report = admin_client.get(page).content.decode()
    first = "column flown, from 2025-01-01 06:40:00-05:00 to 2025-01-07 22:20:00-05:00."
    assert f"{first} Time zone: America/New_York. The rows were put in the order of time." in report
    assert "20 rows have no time and come last." in report
    assert "were ignored: flown" not in report
    assert User.objects.count() == 1


def test_a_report_without_times_says_why(version: ModelVersion, admin_client: Client) -> None:
    reference = profiled(version, rows_in_time(100).drop_columns(["observed_at"]))
    page = reverse("admin:models_registry_referencedataset_change", args=[reference.pk])
    report = admin_client.get(page).content.decode()
    assert (
        "Times: none. No column of the file looks like times. The rows are taken to be in the order of time." in report
    )


def test_the_time_column_is_named_in_the_terminal(version: ModelVersion, tmp_path: Path) -> None:
    table = rows_in_time(100).rename_columns([*IRIS_FEATURES, "species", "flown"])
    path = tmp_path / "flights.parquet"
    pq.write_table(table, path)
    out = StringIO()
    call_command("upload_reference", "classifier", "1.0.0", str(path), "--time", "flown", "--json", stdout=out)
    result = json.loads(out.getvalue())
    assert (result["time_column"], result["timed_rows"], result["ignored_columns"]) == ("flown", 100, [])
    assert datetime.fromisoformat(result["last_time"]) == datetime(2025, 1, 2, 9, tzinfo=UTC)
    out = StringIO()
    call_command("upload_reference", "classifier", "1.0.0", str(path), "--time", "flown", stdout=out)
    assert "times: column flown, from 2025-01-01 00:00:00+00:00 to 2025-01-02 09:00:00+00:00." in out.getvalue()
    with pytest.raises(CommandError, match='The file has no column "arrived" for the times'):
        call_command("upload_reference", "classifier", "1.0.0", str(path), "--time", "arrived", stdout=StringIO())
    assert active_reference(version.pk) is not None
