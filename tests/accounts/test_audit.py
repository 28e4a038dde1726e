"""The audit trail: changes by pages, commands and tasks, with old and new values and without secrets."""

import getpass
import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django.fixtures import Settings

from accounts import actors
from accounts.actors import Actor, Program
from accounts.admin.base import AuditedAdmin
from accounts.admin.changes import record_context, row_type_in_words
from accounts.models import ApiToken, ChangeRecord
from accounts.selectors import changes_of
from accounts.services.changes import NOT_SHOWN, record_change
from accounts.services.tokens import create_token, revoke_token
from inference.models import CapturePolicy
from inference.services.capture_policies import remove_capture_policy, save_capture_policy
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.services.references import activate_reference, profile_reference, upload_reference
from models_registry.services.versions import promote, register_model, set_stage
from tests.admin_site import model_admins
from tests.factories import iris_onnx, uploaded_version

pytestmark = pytest.mark.django_db

CSV = b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.0,3.0,4.5,1.5\n"


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna")


@pytest.fixture(autouse=True)
def _media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def latest(row: Any) -> ChangeRecord:
    record = changes_of(row).first()
    assert record is not None
    return record


def reference_of(version: ModelVersion, name: str) -> ReferenceDataset:
    file = ContentFile(CSV, name=name)
    uploaded = upload_reference(version=version, file=file, filename=name, enqueue=False)
    return profile_reference(reference_id=uploaded.pk)


def test_a_promotion_records_both_versions(anna: User) -> None:
    first = uploaded_version("classifier")
    second = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(1), production=False)
    promote(version=second, user=anna)
    up, down = latest(second), latest(first)
    assert (up.user, up.actor, up.model_name, up.row_name) == (anna, "anna", "classifier", "classifier 1.1.0")
    assert up.changes == [["Stage", "staging", "production"], ["Traffic weight", 0, 100]]
    assert down.changes == [["Stage", "production", "staging"], ["Traffic weight", 100, 0]]
    promote(version=first, user=anna)  # rollback
    assert latest(first).changes == [["Stage", "staging", "production"], ["Traffic weight", 0, 100]]


def test_a_traffic_weight_is_recorded(anna: User) -> None:
    version = uploaded_version("classifier")
    set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=30, user=anna)
    assert ["Traffic weight", 100, 30] in latest(version).changes


def test_an_activation_records_the_previous_reference(anna: User) -> None:
    version = uploaded_version("classifier")
    first, second = reference_of(version, "first.csv"), reference_of(version, "second.csv")
    assert latest(second).changes == [["Active reference", "first.csv", "second.csv"]]
    activate_reference(reference=first, user=anna)
    record = latest(first)
    assert (record.actor, record.changes) == ("anna", [["Active reference", "second.csv", "first.csv"]])


def test_capture_policies_are_recorded_when_set_and_removed(anna: User) -> None:
    policy = CapturePolicy(model=register_model(name="m"), sampling_rate=0.5, never_stored_features=["age"])
    save_capture_policy(policy=policy, user=anna)
    assert latest(policy).changes == [["Sampling rate", 1.0, 0.5], ["Never stored features", [], ["age"]]]
    pk = policy.pk
    remove_capture_policy(policy=policy, user=anna)
    gone = ChangeRecord.objects.filter(row_type="inference.capturepolicy", row_id=str(pk)).first()
    assert gone is not None
    assert (gone.actor, gone.message) == ("anna", "Deleted: the defaults apply.")
    assert ["Sampling rate", 0.5, 1.0] in gone.changes


def test_tokens_are_recorded_without_the_token(anna: User) -> None:
    row, token = create_token(name="checkout", scope="predict", user=anna)
    revoke_token(token=row, user=anna)
    made, revoked = changes_of(row).order_by("pk")
    assert made.changes == [["Scope", None, "predict"], ["Expires at", None, None]]
    assert (revoked.message, revoked.actor) == ("Revoked.", "anna")
    assert not revoke_token(token=row, user=anna)
    assert changes_of(row).count() == 2  # revoked before: nothing happened
    kept = json.dumps(list(ChangeRecord.objects.values()), default=str)
    assert token not in kept
    assert row.digest not in kept


def test_secrets_of_callers_are_not_stored(anna: User) -> None:
    model = register_model(name="m")
    record_change(user=anna, row=model, message="", changes={"Password": ("old one", "new one"), "Digest": (1, 2)})
    record = latest(model)
    assert record.changes == [["Password", NOT_SHOWN, NOT_SHOWN], ["Digest", NOT_SHOWN, NOT_SHOWN]]
    assert record.text == "Password: not shown → not shown. Digest: not shown → not shown."


def test_passwords_are_not_stored(admin_client: Client) -> None:
    sent = {"username": "carl", "password1": "a long first one", "password2": "a long first one"}
    admin_client.post(reverse("admin:auth_user_add"), {**sent, "usable_password": "true"})
    account = User.objects.get(username="carl")
    passwords = {"password1": "a long second one", "password2": "a long second one", "usable_password": "true"}
    admin_client.post(reverse("admin:auth_user_password_change", args=[account.pk]), passwords)
    assert changes_of(account).count() == 2
    account.refresh_from_db()
    assert account.check_password("a long second one")
    kept = json.dumps(list(ChangeRecord.objects.values()), default=str)
    assert "a long" not in kept
    assert account.password not in kept
    assert latest(account).changes == [["Password", NOT_SHOWN, NOT_SHOWN]]


def test_a_change_of_roles_is_recorded(admin_client: Client) -> None:
    account, viewer = User.objects.create_user("carl", is_staff=True), Group.objects.get(name="viewer")
    account.groups.add(Group.objects.get(name="admin"))
    joined = account.date_joined
    sent = {"username": "carl", "is_active": "on", "is_staff": "on", "groups": [viewer.pk]}
    sent |= {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    admin_client.post(reverse("admin:auth_user_change", args=[account.pk]), sent)
    assert ["Groups", ["admin"], ["viewer"]] in latest(account).changes


def test_an_unchanged_form_is_not_recorded(admin_client: Client) -> None:
    model = register_model(name="m", description="as it was")
    before = ChangeRecord.objects.count()
    address = reverse("admin:models_registry_model_change", args=[model.pk])
    assert admin_client.post(address, {"description": "as it was", "time_zone": "UTC"}).status_code == 302
    assert ChangeRecord.objects.count() == before
    assert admin_client.post(address, {"description": "another", "time_zone": "UTC"}).status_code == 302
    assert latest(model).text == "Description: as it was → another."


def test_feature_policies_are_recorded(admin_client: Client) -> None:
    version = uploaded_version("classifier")
    form = {
        "model": version.model_id,
        "is_enabled": "on",
        "mode": "verdict",
        "false_alarm_budget": 10_000,
        "window_rows": 1000,
        "minimum_rows": 100,
        "extra_window_rows": "",
        "feature_threshold": 0.15,
        "prediction_threshold": 0.1,
        "feature_policies-TOTAL_FORMS": 1,
        "feature_policies-INITIAL_FORMS": 0,
        "feature_policies-0-feature_name": "sepal_width",
        "feature_policies-0-is_monitored": "on",
        "feature_policies-0-threshold": 0.3,
    }
    add = reverse("admin:drift_driftpolicy_add")
    assert admin_client.post(add, form).status_code == 302
    policy = version.model.drift_policy
    assert ["sepal_width: Threshold", None, 0.3] in latest(policy).changes

    feature = policy.feature_policies.get()
    form |= {"feature_policies-INITIAL_FORMS": 1, "feature_policies-0-id": feature.pk}
    form |= {"feature_policies-0-policy": policy.pk, "feature_policies-0-threshold": 0.4, "feature_threshold": 0.2}
    change = reverse("admin:drift_driftpolicy_change", args=[policy.pk])
    assert admin_client.post(change, form).status_code == 302
    assert latest(policy).changes == [["Feature threshold", 0.15, 0.2], ["sepal_width: Threshold", 0.3, 0.4]]

    assert admin_client.post(change, {**form, "feature_policies-0-DELETE": "on"}).status_code == 302
    assert latest(policy).changes == [["sepal_width", "present", "removed"]]


def test_a_command_is_recorded_with_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "deploy")
    (tmp_path / "model.onnx").write_bytes(iris_onnx())
    (tmp_path / "rows.csv").write_bytes(CSV)
    out = StringIO()
    names = "sepal_length,sepal_width,petal_length,petal_width"
    path = str(tmp_path / "model.onnx")
    call_command("upload_version", "classifier", "1.0.0", path, "--features", names, "--promote", stdout=out)
    call_command("upload_reference", "classifier", "1.0.0", str(tmp_path / "rows.csv"), stdout=out)
    call_command("create_token", "checkout", stdout=out)

    def actors_of(row: Any) -> set[str]:
        return set(changes_of(row).values_list("actor", flat=True))

    version = ModelVersion.objects.get()
    assert actors_of(version) == {"upload_version, run by deploy"}
    assert actors_of(version.model) == {"upload_version, run by deploy"}
    # The profiling activates it, as in a background task.
    assert actors_of(version.references.get()) == {"upload_reference, run by deploy", "mlmon"}
    assert actors_of(ApiToken.objects.get()) == {"create_token, run by deploy"}
    assert not ChangeRecord.objects.exclude(user=None).exists()


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    assert actors.command("create_token").name == "create_token, run by user 10001"


def test_changes_without_an_actor_are_recorded_as_mlmons(anna: User) -> None:
    model = register_model(name="m")
    actors_of_changes: list[tuple[Actor | None, str]] = [(None, "mlmon"), (Program("a job"), "a job"), (anna, "anna")]
    for actor, name in actors_of_changes:
        record_change(user=actor, row=model, message="Changed.")
        assert latest(model).actor == name


def test_the_names_outlive_account_and_row(anna: User) -> None:
    model = register_model(name="m", user=anna)
    record = latest(model)
    model.delete()
    anna.delete()
    record.refresh_from_db()
    assert (record.user, record.actor, record.row_name, record.text) == (None, "anna", "m", "Registered.")


def test_a_change_that_is_rolled_back_is_not_recorded(anna: User) -> None:
    before = ChangeRecord.objects.count()
    with transaction.atomic():
        register_model(name="m", user=anna)
        transaction.set_rollback(True)
    assert (Model.objects.count(), ChangeRecord.objects.count()) == (0, before)


def test_every_admin_page_is_audited() -> None:
    assert all(isinstance(model_admin, AuditedAdmin) for model_admin in model_admins().values())


@pytest.fixture
def trail(anna: User) -> list[ChangeRecord]:
    """Return changes by two people of two models and three kinds of rows."""
    bert = User.objects.create_user("bert")
    first, second = register_model(name="first", user=anna), register_model(name="second", user=bert)
    save_capture_policy(policy=CapturePolicy(model=second, sampling_rate=0.5), user=anna)
    create_token(name="checkout", scope="read", user=bert)
    description = "<script>alert(1)</script>"
    record_change(user=anna, row=first, message="", changes={"Description": ("", description)})
    return list(ChangeRecord.objects.order_by("pk"))


CHANGES = "/admin/accounts/changerecord/"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"actor": "anna"}, {0, 2, 4}),
        ({"model_name": "second"}, {1, 2}),
        ({"row_type": "accounts.apitoken"}, {3}),
        ({"row_type": "inference.capturepolicy", "actor": "bert"}, set()),
        ({"happened_at__gte": "2100-01-01 00:00:00+00:00"}, set()),
        ({"q": "checkout"}, {3}),
    ],
)
def test_the_trail_can_be_filtered(
    admin_client: Client, trail: list[ChangeRecord], query: dict[str, str], expected: set[int]
) -> None:
    page = admin_client.get(CHANGES, query)
    assert page.status_code == 200
    assert {row.pk for row in page.context["cl"].result_list} == {trail[index].pk for index in expected}


def test_a_change_shows_both_values_and_links_to_its_row(admin_client: Client, trail: list[ChangeRecord]) -> None:
    page = admin_client.get(f"{CHANGES}{trail[4].pk}/change/").content.decode()
    assert reverse("admin:models_registry_model_change", args=[trail[4].row_id]) in page
    assert "<del>none</del> → <ins>&lt;script&gt;alert(1)&lt;/script&gt;</ins>" in page
    assert "<script>alert(1)" not in page
    listed = admin_client.get(CHANGES).content.decode()
    assert "Sampling rate: 1.0 → 0.5." in listed
    assert "API token" in listed
    assert "<script>alert(1)" not in listed


def test_changes_are_read_only(admin_client: Client, trail: list[ChangeRecord]) -> None:
    assert admin_client.get(f"{CHANGES}add/").status_code == 403
    assert admin_client.post(f"{CHANGES}{trail[0].pk}/change/", {"actor": "somebody"}).status_code == 403
    assert admin_client.post(f"{CHANGES}{trail[0].pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [trail[0].pk], "post": "yes"}
    admin_client.post(CHANGES, chosen)
    assert list(ChangeRecord.objects.order_by("pk")) == trail


def test_the_history_of_a_row_shows_its_changes(admin_client: Client, trail: list[ChangeRecord]) -> None:
    second = Model.objects.get(name="second")
    page = admin_client.get(reverse("admin:models_registry_model_history", args=[second.pk])).content.decode()
    assert "Registered." in page
    assert "bert" in page
    assert "Sampling rate" not in page  # which belongs to the policy
    never = Group.objects.create(name="night shift")
    empty = admin_client.get(reverse("admin:auth_group_history", args=[never.pk])).content.decode()
    assert "No change has been recorded" in empty


def test_a_long_history_has_pages(admin_client: Client, anna: User) -> None:
    model = register_model(name="m", user=anna)
    for number in range(150):
        record_change(user=anna, row=model, message=f"Change {number}.")
    address = reverse("admin:models_registry_model_history", args=[model.pk])
    first, second = (admin_client.get(address, {"p": page}).content.decode() for page in (1, 2))
    assert "Change 149." in first
    assert "Page 1 of 2" in first
    assert "Registered." in second
    assert "Change 149." not in second


def test_the_number_of_queries_of_the_list_is_constant(
    admin_client: Client, trail: list[ChangeRecord], django_assert_max_num_queries: Any
) -> None:
    model = Model.objects.get(name="first")
    for number in range(90):
        record_change(user=None, row=model, message=f"Change {number}.")
    with django_assert_max_num_queries(10):
        assert admin_client.get(CHANGES).status_code == 200


def test_unknown_types_of_rows_have_no_link() -> None:
    record = ChangeRecord(row_type="gone.thing", row_id="1")
    assert (row_type_in_words("gone.thing"), record_context(record)["row_url"]) == ("gone.thing", "")
    assert record_context(ChangeRecord(row_type="models_registry.model", row_id="12345"))["row_url"] == ""


class TrailIsFullError(Exception):
    """Raised in place of writing the change."""


@pytest.fixture
def _no_line_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise TrailIsFullError

    monkeypatch.setattr("accounts.services.changes.ChangeRecord.objects.create", fail)


@pytest.mark.usefixtures("_no_line_is_written")
def test_a_change_that_cannot_be_recorded_is_not_made(admin_client: Client) -> None:
    account, model = User.objects.create_user("carl", password="before"), Model.objects.create(name="m")
    interval = IntervalSchedule.objects.create(every=20, period="seconds")
    task = PeriodicTask.objects.create(name="ticks", task="drift.tasks.check_due_versions", interval=interval)
    passwords = {"password1": "a long second one", "password2": "a long second one", "usable_password": "true"}
    delete = {"action": "delete_selected", "_selected_action": [model.pk], "post": "yes"}
    disable = {"action": "disable_tasks", "_selected_action": [task.pk]}
    for address, sent in (
        (reverse("admin:auth_user_password_change", args=[account.pk]), passwords),
        (reverse("admin:models_registry_model_changelist"), delete),
        (
            reverse("admin:models_registry_model_change", args=[model.pk]),
            {"description": "another", "time_zone": "UTC"},
        ),
        (reverse("admin:django_celery_beat_periodictask_changelist"), disable),
    ):
        with pytest.raises(TrailIsFullError):
            admin_client.post(address, sent)
    for row in (account, model, task):
        row.refresh_from_db()
    assert account.check_password("before")
    assert (model.description, task.enabled) == ("", True)
