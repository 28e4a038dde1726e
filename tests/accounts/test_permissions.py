"""Every role tries every action through the real pages: allowed actions happen and are recorded, others return 403.

The permissions of each role are repeated here by hand, from the requirements.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord
from accounts.roles import Action, Role
from accounts.services.tokens import create_token
from drift.models import DriftCheck, DriftIncident, DriftPolicy
from drift.services.checks import run_drift_check
from inference.models import CapturePolicy, KServeService
from inference.services.capture_policies import save_capture_policy
from inference.services.kserve_services import save_kserve_service
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.services.references import profile_reference, upload_reference
from models_registry.services.versions import register_model
from performance.models import PerformancePolicy
from rollouts.models import RolloutIncident, State
from tests.admin_site import model_admins, page_names
from tests.factories import IRIS_FEATURES, iris_onnx, uploaded_version
from tests.inference.observed import registered_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference
from tests.rollouts.rollout_cases import rollout_row

pytestmark = pytest.mark.django_db

OF_OPERATORS = {Action.HANDLE_INCIDENTS, Action.ACKNOWLEDGE_ROLLBACK, Action.RUN_CHECK}
OF_OWNERS = OF_OPERATORS | {
    Action.REGISTER_MODEL,
    Action.UPLOAD_VERSION,
    Action.EDIT_VERSION,
    Action.CHANGE_STAGE,
    Action.RUN_ROLLOUTS,
    Action.UPLOAD_REFERENCE,
    Action.ACTIVATE_REFERENCE,
    Action.REBASELINE,
    Action.SET_DRIFT_POLICY,
    Action.SET_PERFORMANCE_POLICY,
    Action.SET_CAPTURE_POLICY,
    Action.MAP_KSERVE_SERVICES,
    Action.UPLOAD_GROUND_TRUTH,
    Action.MAKE_TOKEN,
}
OF_ADMINS = OF_OWNERS | {Action.MANAGE_TOKENS, Action.MANAGE_PEOPLE, Action.MANAGE_SCHEDULES}
ALLOWED: dict[str, set[Action]] = {
    "viewer": set(),
    "operator": OF_OPERATORS,
    "model owner": OF_OWNERS,
    "admin": OF_ADMINS,
}
FORBIDDEN = (403,)
NOT_OFFERED = (200, 302, 403)  # a form without this action or choice


def address(name: str, row: Any = None) -> str:
    return reverse(f"admin:{name}", args=[] if row is None else [row.pk])


@dataclass(frozen=True)
class Attempt:
    """One attempt of a person.

    Attributes
    ----------
    url, data
        Sent with POST.
    page
        Page with its button or link; "" if the form is the page itself.
    asks
        Whether a GET returns a confirmation page or a form.
    refusals
        Possible statuses of a refusal.
    """

    action: Action
    url: str
    data: dict[str, Any] = field(default_factory=dict)
    page: str = ""
    asks: bool = False
    refusals: Sequence[int] = FORBIDDEN

    def __str__(self) -> str:
        return f"{self.action.name} {self.url} {self.data.get('action', '')}"


@dataclass
class World:
    """The rows that attempts act on, and the person who tries."""

    person: User
    version: ModelVersion
    other: ModelVersion
    older: ReferenceDataset
    check: DriftCheck
    incident: DriftIncident


@pytest.fixture
def world(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> World:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    older = profiled_reference(version, iris_rows(200))
    profiled_reference(version, iris_rows(2000))
    older.refresh_from_db()
    observe(version, iris_rows(1000, seed=1) + np.array([0, 0, 2, 1]))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    observe(version, iris_rows(100, seed=2))  # so that a manual check has new rows
    other = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(1), production=False)
    person = User.objects.create_user("tester", is_staff=True)
    return World(person, version, other, older, check, DriftIncident.objects.get())


def upload() -> SimpleUploadedFile:
    return SimpleUploadedFile("rows.csv", b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n")


def incident_attempts(world: World) -> Iterator[Attempt]:
    page = address("drift_driftincident_change", world.incident)
    for act in ("acknowledge", "snooze_hours", "snooze_day", "snooze_week", "close"):
        url = address(f"drift_driftincident_{act}", world.incident)
        yield Attempt(Action.HANDLE_INCIDENTS, url, page=page, asks=True)
    check_page = address("drift_driftcheck_change", world.check)
    for row, name, where in ((world.incident, "driftincident", page), (world.check, "driftcheck", check_page)):
        for act, action in (("check_now", Action.RUN_CHECK), ("rebaseline", Action.REBASELINE)):
            yield Attempt(action, address(f"drift_{name}_{act}", row), page=where, asks=True)


def registry_attempts(world: World) -> Iterator[Attempt]:
    empty = register_model(name="empty")
    models, add = address("models_registry_model_changelist"), address("models_registry_model_add")
    yield Attempt(
        Action.REGISTER_MODEL, add, {"name": "new", "description": "", "time_zone": "UTC"}, page=models, asks=True
    )
    yield Attempt(
        Action.REGISTER_MODEL,
        address("models_registry_model_change", empty),
        {"description": "another", "time_zone": "UTC"},
    )
    yield Attempt(Action.REGISTER_MODEL, address("models_registry_model_delete", empty), {"post": "yes"}, asks=True)
    artefact = SimpleUploadedFile("model.onnx", iris_onnx(2))
    names = "\n".join(IRIS_FEATURES)
    sent = {"model": empty.pk, "version": "1.0.0", "artefact": artefact, "feature_names": names, "notes": ""}
    versions = address("models_registry_modelversion_changelist")
    yield Attempt(Action.UPLOAD_VERSION, address("models_registry_modelversion_add"), sent, page=versions, asks=True)
    schema = json.dumps({"task": "regression", "features": [{"name": "x", "type": "number"}]})
    sent = {"model": empty.pk, "version": "2.0.0", "schema": schema}
    url = address("models_registry_modelversion_register_served_elsewhere")
    yield Attempt(Action.UPLOAD_VERSION, url, sent, page=versions, asks=True)
    yield Attempt(Action.EDIT_VERSION, address("models_registry_modelversion_change", world.other), edits(world.other))
    for row, acts in ((world.other, ("promote", "start_shadow", "archive")), (world.version, ("back_to_staging",))):
        page = address("models_registry_modelversion_change", row)
        for act in acts:
            url = address(f"models_registry_modelversion_{act}", row)
            yield Attempt(Action.CHANGE_STAGE, url, page=page, asks=True)
    model = world.version.model
    weights = {f"version_{world.version.pk}": 3, f"version_{world.other.pk}": 1}
    url, page = (
        address("models_registry_model_share_out_traffic", model),
        address("models_registry_model_change", model),
    )
    yield Attempt(Action.CHANGE_STAGE, url, weights, page=page, asks=True)


def edits(version: ModelVersion) -> dict[str, Any]:
    """Return the form of the version page with a renamed feature and notes."""
    features = list(version.features.all())
    sent: dict[str, Any] = {"notes": "seen", "features-TOTAL_FORMS": 4, "features-INITIAL_FORMS": 4}
    for index, feature in enumerate(features):
        values = {"id": feature.pk, "version": version.pk, "name": feature.name, "kind": feature.kind}
        values |= {"is_required": "on"} | ({"name": "length"} if index == 0 else {})
        sent |= {f"features-{index}-{name}": value for name, value in values.items()}
    return sent


def data_attempts(world: World) -> Iterator[Attempt]:
    references = address("models_registry_referencedataset_changelist")
    add = address("models_registry_referencedataset_add")
    sent = {"version": world.version.pk, "file": upload(), "label_column": ""}
    yield Attempt(Action.UPLOAD_REFERENCE, add, sent, page=references, asks=True)
    url = address("models_registry_referencedataset_activate", world.older)
    page = address("models_registry_referencedataset_change", world.older)
    yield Attempt(Action.ACTIVATE_REFERENCE, url, page=page, asks=True)
    add = address("performance_groundtruthupload_add")
    uploads = address("performance_groundtruthupload_changelist")
    yield Attempt(Action.UPLOAD_GROUND_TRUTH, add, {"file": upload()}, page=uploads, asks=True)


def policy_attempts(world: World) -> Iterator[Attempt]:
    second = register_model(name="second")
    kinds = (
        (Action.SET_DRIFT_POLICY, "drift_driftpolicy", drift_form(), DriftPolicy.objects.create(model=second)),
        (
            Action.SET_PERFORMANCE_POLICY,
            "performance_performancepolicy",
            {"window_rows": 500, "minimum_rows": 50, "false_alarm_budget": 500},
            PerformancePolicy.objects.create(model=second),
        ),
        (
            Action.SET_CAPTURE_POLICY,
            "inference_capturepolicy",
            {"sampling_rate": 0.5, "never_stored_features": "", "retention_days": "", "archive_megabytes": ""},
            CapturePolicy(model=second),
        ),
    )
    save_capture_policy(policy=kinds[2][3])
    for action, name, sent, row in kinds:
        add, listed = address(f"{name}_add"), address(f"{name}_changelist")
        yield Attempt(action, add, {"model": world.version.model_id, **sent}, page=listed, asks=True)
        yield Attempt(action, address(f"{name}_change", row), {"model": second.pk, **sent})
        if action is Action.SET_DRIFT_POLICY:
            page = address(f"{name}_change", row)
            yield Attempt(action, address(f"{name}_seasonal", row), page=page, asks=True)
        yield Attempt(action, address(f"{name}_delete", row), {"post": "yes"}, asks=True)


def kserve_attempts(world: World) -> Iterator[Attempt]:
    row = KServeService(namespace="team-a", service="iris", model=world.version.model)
    save_kserve_service(service=row)
    sent = {"namespace": "team-b", "service": "iris", "model": world.version.model_id, "version": ""}
    action, name = Action.MAP_KSERVE_SERVICES, "inference_kserveservice"
    yield Attempt(action, address(f"{name}_add"), sent, page=address(f"{name}_changelist"), asks=True)
    yield Attempt(action, address(f"{name}_change", row), {**sent, "namespace": "team-c"})
    yield Attempt(action, address(f"{name}_delete", row), {"post": "yes"}, asks=True)


def drift_form() -> dict[str, Any]:
    rows = {"false_alarm_budget": 500, "window_rows": 500, "minimum_rows": 100, "extra_window_rows": ""}
    thresholds = {"feature_threshold": 0.2, "prediction_threshold": 0.1}
    inline = {"feature_policies-TOTAL_FORMS": 0, "feature_policies-INITIAL_FORMS": 0}
    return {"is_enabled": "on", "mode": "verdict", **rows, **thresholds, **inline}


def rollout_attempts(world: World) -> Iterator[Attempt]:
    draft = rollout_row(world.version, world.other, state=State.DRAFT)
    rows = {"start": draft, "cancel": draft}
    for state, acts in ((State.RUNNING, ("pause", "promote", "roll_back")), (State.PAUSED, ("resume",))):
        name = f"{state.value}-model"
        row = rollout_row(registered_version(name), registered_version(name, "1.1.0"), state=state)
        rows |= dict.fromkeys(acts, row)
    for act, row in rows.items():
        url = address(f"rollouts_rollout_{act}", row)
        yield Attempt(Action.RUN_ROLLOUTS, url, page=address("rollouts_rollout_change", row), asks=True)
    uploaded_version("planned")
    challenger = uploaded_version("planned", "1.1.0", production=False)
    numbers = {"shares": "5", "minimum_requests": "1", "minimum_seconds": "0", "minimum_labels": "0", "alpha": "0.01"}
    sent = {"challenger": challenger.pk, "kind": "canary", "guards_errors": "on", **numbers}
    page = address("rollouts_rollout_changelist")
    yield Attempt(Action.RUN_ROLLOUTS, address("rollouts_rollout_add"), sent, page=page, asks=True)
    worse = rollout_row(world.version, world.other, state=State.ROLLED_BACK)
    counts = dict.fromkeys(("champion_units", "challenger_units", "champion_events", "challenger_events"), 1)
    evidence = {"measure": "errors", "log10_evidence": 2.5, "log10_limit": 2.0}
    RolloutIncident.objects.create(rollout=worse, opened_at=timezone.now(), **evidence, **counts)
    url = address("rollouts_rollout_acknowledge", worse)
    yield Attempt(Action.ACKNOWLEDGE_ROLLBACK, url, page=address("rollouts_rollout_change", worse), asks=True)


def token_attempts(world: World) -> Iterator[Attempt]:
    own, _ = create_token(name="own", scope="read", user=world.person)
    foreign, _ = create_token(name="foreign", scope="read", user=User.objects.create_user("somebody"))
    nobodys, _ = create_token(name="of a command", scope="read")
    add, tokens = address("accounts_apitoken_add"), address("accounts_apitoken_changelist")
    for scope in ("predict", "read", "registry"):
        sent = {"name": scope, "scope": scope, "expires_at_0": "", "expires_at_1": ""}
        yield Attempt(Action.MAKE_TOKEN, add, sent, page=tokens, asks=True)
    # Whoever may run rollouts may give this scope to a program; model owners may do both.
    sent = {"name": "rollouts", "scope": "rollouts", "expires_at_0": "", "expires_at_1": ""}
    yield Attempt(Action.RUN_ROLLOUTS, add, sent, page=tokens, asks=True)
    yield revocation(Action.MAKE_TOKEN, own)
    yield revocation(Action.MANAGE_TOKENS, foreign)
    yield revocation(Action.MANAGE_TOKENS, nobodys)
    sent = {"name": "all", "scope": "all", "expires_at_0": "", "expires_at_1": ""}
    yield Attempt(Action.MANAGE_TOKENS, add, sent, refusals=NOT_OFFERED)


def revocation(action: Action, token: Any) -> Attempt:
    url = address("accounts_apitoken_revoke", token)
    return Attempt(action, url, page=address("accounts_apitoken_change", token), asks=True)


def people_attempts(world: World) -> Iterator[Attempt]:
    account, group = User.objects.create_user("bert", password="before"), Group.objects.create(name="night shift")
    passwords = {"password1": "a long one for bert", "password2": "a long one for bert", "usable_password": "true"}
    users, groups = address("auth_user_changelist"), address("auth_group_changelist")
    joined = timezone.now()
    sent = {"username": "bert", "is_active": "on", "is_staff": "on", "groups": [Group.objects.get(name="viewer").pk]}
    sent |= {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    yield Attempt(
        Action.MANAGE_PEOPLE, address("auth_user_add"), {"username": "carl", **passwords}, page=users, asks=True
    )
    yield Attempt(Action.MANAGE_PEOPLE, address("auth_user_change", account), sent)
    yield Attempt(Action.MANAGE_PEOPLE, reverse("admin:auth_user_password_change", args=[account.pk]), passwords)
    yield Attempt(Action.MANAGE_PEOPLE, address("auth_user_delete", account), {"post": "yes"}, asks=True)
    yield Attempt(Action.MANAGE_PEOPLE, address("auth_group_add"), {"name": "day shift"}, page=groups, asks=True)
    yield Attempt(Action.MANAGE_PEOPLE, address("auth_group_delete", group), {"post": "yes"}, asks=True)


def schedule_attempts(world: World) -> Iterator[Attempt]:
    every = IntervalSchedule.objects.create(every=20, period="seconds")
    task = PeriodicTask.objects.create(name="ticks", task="drift.tasks.check_due_versions", interval=every)
    add = address("django_celery_beat_intervalschedule_add")
    intervals, tasks = (
        address(f"django_celery_beat_{name}_changelist") for name in ("intervalschedule", "periodictask")
    )
    inline = {"periodictask_set-TOTAL_FORMS": 0, "periodictask_set-INITIAL_FORMS": 0}
    sent = {"every": 7, "period": "hours", **inline}
    yield Attempt(Action.MANAGE_SCHEDULES, add, sent, page=intervals, asks=True)
    for act in ("enable_tasks", "disable_tasks", "toggle_tasks", "run_tasks"):
        sent = {"action": act, "_selected_action": [task.pk], "index": 0}
        yield Attempt(Action.MANAGE_SCHEDULES, tasks, sent, refusals=NOT_OFFERED)
    url = address("django_celery_beat_periodictask_delete", task)
    yield Attempt(Action.MANAGE_SCHEDULES, url, {"post": "yes"}, asks=True)


GROUPS_OF_ATTEMPTS: Sequence[Callable[[World], Iterator[Attempt]]] = (
    incident_attempts,
    registry_attempts,
    data_attempts,
    policy_attempts,
    kserve_attempts,
    rollout_attempts,
    token_attempts,
    people_attempts,
    schedule_attempts,
)


def outcome_of(client: Client, person: User, attempt: Attempt) -> tuple[bool, str]:
    """Return whether the attempt succeeded, and inconsistencies of the responses; roll it back."""
    client.force_login(person)  # again, because a new password, which was rolled back, ended the session
    with transaction.atomic():
        before = ChangeRecord.objects.count()
        page = client.get(attempt.page) if attempt.page else None
        is_offered = page is not None and attempt.url in page.content.decode()
        asked = client.get(attempt.url).status_code if attempt.asks else None
        assert ChangeRecord.objects.count() == before, f"{attempt.url} changed something without being posted to"
        answered = client.post(attempt.url, attempt.data).status_code
        records = ChangeRecord.objects.filter(actor="tester").count()
        transaction.set_rollback(True)
    happened = records > 0
    faults = []
    if page is not None and is_offered != happened:
        faults.append("offered" if is_offered else "not offered")
    if asked is not None and (asked == 200) != happened:
        faults.append(f"GET {asked}")
    if answered not in ((302,) if happened else attempt.refusals):
        faults.append(f"POST {answered}")
    return happened, ", ".join(faults)


def log_in(client: Client, world: World, role: str) -> None:
    world.person.groups.set(Group.objects.filter(name=role))
    client.force_login(world.person)


@pytest.mark.parametrize("role", ["nobody", *ALLOWED])
def test_a_role_can_do_what_it_may_and_nothing_else(client: Client, world: World, role: str) -> None:
    log_in(client, world, role)
    attempts = [attempt for group in GROUPS_OF_ATTEMPTS for attempt in group(world)]
    ChangeRecord.objects.all().delete()
    tried = [(attempt, *outcome_of(client, world.person, attempt)) for attempt in attempts]
    assert [f"{attempt}: {faults}" for attempt, _, faults in tried if faults] == []
    allowed = ALLOWED.get(role, set())
    assert [f"{attempt}" for attempt, happened, _ in tried if happened != (attempt.action in allowed)] == []


def test_every_action_is_tested(world: World) -> None:
    tried = {attempt.action for group in GROUPS_OF_ATTEMPTS for attempt in group(world)}
    assert tried | {Action.SEE} == set(Action)


def test_every_button_of_the_admin_is_tested(world: World) -> None:
    urls = {attempt.url for group in GROUPS_OF_ATTEMPTS for attempt in group(world)}
    tried = {part for url in urls for part in url.strip("/").split("/")}
    for model_admin in model_admins().values():
        for entry in model_admin.actions_detail or []:  # type: ignore[attr-defined]
            names = entry["items"] if isinstance(entry, dict) else [entry]
            assert set(names) <= tried, model_admin


PAGES = page_names()


@pytest.mark.parametrize("role", Role)
def test_each_role_can_read_pages_and_api(client: Client, world: World, settings: Settings, role: Role) -> None:
    settings.MLMON_API_ACCESS = "token"
    log_in(client, world, role.value)
    seen = {name: client.get(address(f"{name}_changelist")).status_code for name in PAGES}
    rows = {"drift_driftcheck": world.check, "drift_driftincident": world.incident, "auth_user": world.person}
    rows |= {"models_registry_modelversion": world.version, "models_registry_referencedataset": world.older}
    for name, row in rows.items():
        for page in ("change", "history"):
            seen[f"{name} {page}"] = client.get(address(f"{name}_{page}", row)).status_code
    for url in ("/api/v1/models", "/api/v1/models/classifier", "/api/v1/models/classifier/drift", "/drift"):
        seen[url] = client.get(url).status_code
    assert set(seen.values()) == {200}, {page: status for page, status in seen.items() if status != 200}
    # Predictions and feedback need a token: roles do not cover them.
    for url in ("/predict", "/api/v1/feedback", "/api/v1/models/classifier/observations"):
        assert client.post(url, {}, content_type="application/json").status_code in (401, 403), url


def test_staff_without_a_role_cannot_read(client: Client, world: World, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    log_in(client, world, "nobody")
    assert client.get("/api/v1/models").status_code == 403
    assert (
        client.get(reverse("admin:inference_capturepolicy_of_model", args=[world.version.model_id])).status_code == 403
    )


def test_a_refusal_is_a_page_with_the_reason(client: Client, world: World) -> None:
    log_in(client, world, "viewer")
    refused = client.post(address("models_registry_modelversion_promote", world.other))
    assert refused.status_code == 403
    assert "Your role does not allow this." in refused.content.decode()


def test_a_viewer_sees_the_defaults_of_a_missing_capture_policy(client: Client, world: World) -> None:
    log_in(client, world, "viewer")
    url = reverse("admin:inference_capturepolicy_of_model", args=[world.version.model_id])
    page = client.get(url, follow=True)
    assert page.status_code == 200
    assert "all its predictions are captured" in page.content.decode()


def test_an_admin_cannot_become_or_change_a_superuser(client: Client, world: World) -> None:
    log_in(client, world, "admin")
    root = User.objects.create_superuser("root", password="kept")
    joined = timezone.now() - timedelta(days=1)
    sent = {"username": "tester", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    sent |= {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    sent |= {"groups": [str(Group.objects.get(name="admin").pk)], "user_permissions": ["1"]}  # type: ignore[dict-item]
    assert client.post(address("auth_user_change", world.person), sent).status_code == 302
    world.person.refresh_from_db()
    assert (world.person.is_superuser, world.person.user_permissions.count()) == (False, 0)

    passwords = {"password1": "a long one for root", "password2": "a long one for root", "usable_password": "true"}
    assert client.post(reverse("admin:auth_user_password_change", args=[root.pk]), passwords).status_code == 403
    assert client.post(address("auth_user_change", root), {"username": "mine"}).status_code == 403
    assert client.post(address("auth_user_delete", root), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    client.post(address("auth_user_changelist"), chosen)
    root.refresh_from_db()
    assert root.check_password("kept")


def test_groups_of_roles_are_read_only(client: Client, world: World) -> None:
    log_in(client, world, "admin")
    viewer = Group.objects.get(name="viewer")
    operator = client.get(address("auth_group_change", Group.objects.get(name="operator"))).content.decode()
    assert "Acknowledge, snooze and close incidents" in operator
    assert "Set drift policies and thresholds" not in operator
    assert client.post(address("auth_group_change", viewer), {"name": "viewer"}).status_code == 403
    assert client.post(address("auth_group_delete", viewer), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [viewer.pk], "post": "yes"}
    client.post(address("auth_group_changelist"), chosen)
    assert Group.objects.filter(name="viewer").exists()
    assert viewer.permissions.exists()


def test_the_page_of_an_account_hides_its_password(client: Client, world: World) -> None:
    log_in(client, world, "viewer")
    account = User.objects.create_user("bert", password="a long one for bert")
    page = client.get(address("auth_user_change", account)).content.decode()
    assert "bert" in page
    assert "pbkdf2" not in page
    assert account.password.split("$")[2][:6] not in page


def test_a_new_account_can_only_log_in(client: Client, world: World) -> None:
    log_in(client, world, "admin")
    sent = {"username": "carl", "password1": "a long one for carl", "password2": "a long one for carl"}
    client.post(address("auth_user_add"), {**sent, "usable_password": "true"})
    client.logout()
    assert client.login(username="carl", password="a long one for carl")
    assert client.get("/admin/").status_code == 200
    assert client.get(address("models_registry_model_changelist")).status_code == 403


def test_a_manual_check_uses_the_latest_window(client: Client, world: World) -> None:
    log_in(client, world, "operator")
    url = address("drift_driftincident_check_now", world.incident)
    done = client.post(url)
    made = DriftCheck.objects.latest()
    assert made.pk > world.check.pk
    assert done.headers["Location"] == address("drift_driftcheck_change", made)
    again = client.post(url, follow=True)
    assert "There is nothing to check" in again.content.decode()
    assert DriftCheck.objects.latest() == made


def test_a_programs_upload_is_activated_by_mlmon(world: World) -> None:
    file = ContentFile(upload().read(), name="rows.csv")
    reference = upload_reference(version=world.other, file=file, filename="rows.csv", enqueue=False)
    profile_reference(reference_id=reference.pk)
    record = ChangeRecord.objects.get(message="Activated after profiling.", row_id=str(reference.pk))
    assert (record.actor, record.user) == ("mlmon", None)
    assert record.changes == [["Active reference", None, "rows.csv"]]
