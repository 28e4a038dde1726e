"""Versions and API tokens in the admin."""

import functools
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from accounts.models import ApiToken, ChangeRecord, token_digest
from models_registry.models import Model, ModelFeature, ModelVersion, Stage
from models_registry.services.versions import register_model, set_stage
from tests.factories import iris_onnx, uploaded_version

pytestmark = pytest.mark.django_db

ADD = "/admin/models_registry/modelversion/add/"
NAMES = "sepal_length\nsepal_width\npetal_length\npetal_width\n"


@pytest.fixture(autouse=True)
def _logged_in(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)


def upload(client: Client, model: Model, content: bytes, *, version: str = "1.0.0", names: str = NAMES) -> Any:
    artefact = SimpleUploadedFile("model.onnx", content)
    return client.post(
        ADD, {"model": model.pk, "version": version, "artefact": artefact, "feature_names": names, "notes": ""}
    )


def change_page(version: ModelVersion) -> str:
    return reverse("admin:models_registry_modelversion_change", args=[version.pk])


def move(name: str, version: ModelVersion) -> str:
    return reverse(f"admin:models_registry_modelversion_{name}", args=[version.pk])


def test_registering_a_model(client: Client) -> None:
    response = client.post(
        "/admin/models_registry/model/add/", {"name": "classifier", "description": "iris", "time_zone": "UTC"}
    )
    assert response.status_code == 302
    assert Model.objects.get().description == "iris"
    again = client.post(
        "/admin/models_registry/model/add/", {"name": "Not A Name", "description": "", "time_zone": "UTC"}
    )
    assert "lower-case letters" in again.content.decode()


def test_an_uploaded_file_becomes_a_version_in_staging(client: Client) -> None:
    response = upload(client, register_model(name="classifier"), iris_onnx())
    version = ModelVersion.objects.get()
    assert response["Location"] == change_page(version)
    assert (version.stage, version.classes) == (Stage.STAGING, ["setosa", "versicolor", "virginica"])
    assert [feature.name for feature in version.features.all()] == NAMES.split()
    page = client.get(change_page(version)).content.decode()
    assert version.artefact_sha256 in page
    assert ChangeRecord.objects.filter(message__startswith="Uploaded, sha256").count() == 1


@pytest.mark.parametrize(
    ("content", "version", "names", "reason"),
    [
        (pickle.dumps({"a": 1}), "1.0.0", NAMES, "pickle"),
        (b"just text", "1.0.0", NAMES, "ONNX"),
        (None, "1.0", NAMES, "semantic version"),
        (None, "1.0.0", "one\ntwo", "2 feature names were given; the model has 4 features"),
        (None, "1.0.0", "a\na\nb\nc", "Two features are named"),
    ],
)
def test_the_form_shows_why_an_upload_is_refused(
    client: Client, content: bytes | None, version: str, names: str, reason: str
) -> None:
    response = upload(client, register_model(name="m"), content or iris_onnx(), version=version, names=names)
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not ModelVersion.objects.exists()


def feature_form(version: ModelVersion, **changes: dict[str, str]) -> dict[str, Any]:
    """Return the form of the version's page, with `changes` by feature name."""
    return form_of(version, list(version.features.all()), changes)


def form_of(
    version: ModelVersion, features: Sequence[ModelFeature], changes: Mapping[str, dict[str, str]]
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "notes": "edited",
        "features-TOTAL_FORMS": len(features),
        "features-INITIAL_FORMS": len(features),
    }
    for index, feature in enumerate(features):
        values = {
            "id": feature.pk,
            "version": version.pk,
            "name": feature.name,
            "kind": feature.kind,
            "is_required": "on",
        }
        values |= changes.get(feature.name, {})
        data |= {f"features-{index}-{field}": value for field, value in values.items() if value != ""}
    return data


def test_features_can_be_edited_in_staging(client: Client) -> None:
    version = uploaded_version("classifier", production=False)
    swapped = {"sepal_length": {"name": "sepal_width"}, "sepal_width": {"name": "sepal_length"}}
    edits = {**swapped, "petal_width": {"kind": "categorical", "is_required": ""}}
    response = client.post(change_page(version), feature_form(version, **edits))
    assert response.status_code == 302
    features = {feature.name: feature for feature in version.features.all()}
    assert (features["sepal_width"].position, features["sepal_length"].position) == (0, 1)
    assert (features["petal_width"].kind, features["petal_width"].is_required) == ("categorical", False)
    version.refresh_from_db()
    assert version.notes == "edited"


def test_duplicate_feature_names_are_refused(client: Client) -> None:
    version = uploaded_version("classifier", production=False)
    response = client.post(change_page(version), feature_form(version, sepal_length={"name": "petal_width"}))
    assert response.status_code == 200
    assert "Two features are named" in response.content.decode()


@pytest.mark.parametrize(
    "wrong", [{"sepal_width": {"name": " "}}, {"sepal_width": {"name": "x" * 129}}, {"notes": "\0"}]
)
def test_an_invalid_form_changes_nothing_and_can_be_sent_again(client: Client, wrong: dict[str, Any]) -> None:
    version = uploaded_version("classifier", production=False)
    form = feature_form(version, sepal_length={"name": "length"}, **wrong)
    if "notes" in wrong:
        form = feature_form(version, sepal_length={"name": "length"}) | wrong
    before = ChangeRecord.objects.count()
    response = client.post(change_page(version), form)
    assert response.status_code == 200
    assert "Please correct the error" in response.content.decode()
    assert "sepal_length" in set(version.features.values_list("name", flat=True))
    assert ChangeRecord.objects.count() == before
    fixed = feature_form(version, sepal_length={"name": "length"})
    for _ in range(2):  # also from a second window
        assert client.post(change_page(version), fixed).status_code == 302
    assert "length" in set(version.features.values_list("name", flat=True))


def test_features_are_read_only_in_production(client: Client) -> None:
    version = uploaded_version("classifier")
    client.post(change_page(version), feature_form(version, sepal_length={"name": "other"}))
    assert not version.features.filter(name="other").exists()


def test_a_promotion_asks_for_confirmation(client: Client) -> None:
    first = uploaded_version("classifier")
    second = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(2), production=False)
    page = client.get(move("promote", second)).content.decode()
    assert "classifier 1.0.0 loses its traffic and goes to staging." in page
    assert "no reference data yet" in page
    second.refresh_from_db()
    assert second.stage == Stage.STAGING  # GET changes nothing
    client.post(move("promote", second))
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.stage, second.stage, second.traffic_weight) == (Stage.STAGING, Stage.PRODUCTION, 100)
    assert ChangeRecord.objects.filter(row_id=str(second.pk), message__startswith="Stage changed").exists()


@pytest.mark.parametrize(
    ("name", "stage"),
    [("start_shadow", Stage.SHADOW), ("back_to_staging", Stage.STAGING), ("archive", Stage.ARCHIVED)],
)
def test_versions_move_to_other_stages(client: Client, name: str, stage: Stage) -> None:
    version = uploaded_version("classifier")
    assert "has no version in production" in client.get(move(name, version)).content.decode()
    client.post(move(name, version))
    version.refresh_from_db()
    assert version.stage == stage


def test_archived_is_final(client: Client) -> None:
    version = uploaded_version("classifier")
    client.post(move("archive", version))
    response = client.post(move("promote", version), follow=True)
    assert "is archived, which is final" in response.content.decode()


def test_a_viewer_changes_nothing(client: Client) -> None:
    version = uploaded_version("classifier")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    client.force_login(viewer)
    assert client.get(change_page(version)).status_code == 200
    assert client.post(move("archive", version)).status_code == 403
    assert client.get(ADD).status_code == 403
    version.refresh_from_db()
    assert version.stage == Stage.PRODUCTION


def test_a_token_is_shown_once_and_can_be_revoked(client: Client) -> None:
    response = client.post("/admin/accounts/apitoken/add/", {"name": "checkout", "scope": "predict"}, follow=True)
    token = ApiToken.objects.get()
    (shown,) = re.findall(r"<code>(mlmon_[\w-]+)</code>", response.content.decode())
    assert token_digest(shown) == token.digest
    assert shown not in client.get("/admin/accounts/apitoken/").content.decode()
    address = reverse("admin:accounts_apitoken_revoke", args=[token.pk])
    client.get(address)
    token.refresh_from_db()
    assert token.revoked_at is None
    client.post(address)
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_token_may_do_no_more_than_its_creator(client: Client) -> None:
    person = User.objects.create_user("token maker", is_staff=True)
    makes = Permission.objects.filter(codename__in=["add_apitoken", "view_apitoken", "add_modelversion"])
    person.user_permissions.set(makes)
    client.force_login(person)
    sent = {"scope": "registry", "expires_at_0": "", "expires_at_1": ""}
    response = client.post("/admin/accounts/apitoken/add/", {"name": "ci", **sent})
    assert "registry is not one of the available choices" in response.content.decode()
    client.post("/admin/accounts/apitoken/add/", {"name": "ci", **sent, "scope": "predict"})
    assert ApiToken.objects.get().scope == "predict"


def offered(client: Client, version: ModelVersion) -> set[str]:
    page = client.get(change_page(version)).content.decode()
    names = ("promote", "start_shadow", "back_to_staging", "archive")
    return {name for name in names if f'href="{move(name, version)}"' in page}


def test_only_effective_moves_are_offered(client: Client) -> None:
    first = uploaded_version("classifier")
    assert offered(client, first) == {"start_shadow", "back_to_staging", "archive"}
    second = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(1), production=False)
    assert offered(client, second) == {"promote", "start_shadow", "archive"}
    set_stage(version=second, stage=Stage.PRODUCTION, traffic_weight=10)
    assert "promote" in offered(client, second)  # it would take the other's traffic
    page = client.get(move("promote", second)).content.decode()
    assert "from production to production" not in page
    set_stage(version=second, stage=Stage.ARCHIVED)
    assert offered(client, second) == set()


def test_feature_edits_record_their_author(client: Client) -> None:
    version = uploaded_version("classifier", production=False)
    editor = User.objects.create_superuser("editor")
    client.force_login(editor)
    client.post(change_page(version), feature_form(version, sepal_length={"name": "length"}))
    assert ChangeRecord.objects.get(message="Features edited.").user == editor
    assert (
        "Features edited."
        in client.get(reverse("admin:models_registry_modelversion_history", args=[version.pk])).content.decode()
    )


@pytest.mark.parametrize("kind", ["modelversion", "referencedataset", "model"])
@pytest.mark.parametrize("key", ["abc", "0", "9" * 30, "1_2"])
def test_an_invalid_key_redirects(client: Client, kind: str, key: str) -> None:
    response = client.get(f"/admin/models_registry/{kind}/{key}/change/")
    assert response.status_code == 302


def test_a_viewer_is_offered_no_move(client: Client) -> None:
    version = uploaded_version("classifier")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    client.force_login(viewer)
    assert offered(client, version) == set()


def test_a_model_with_versions_is_not_deleted(client: Client) -> None:
    version = uploaded_version("classifier")
    client.post(f"/admin/models_registry/model/{version.model_id}/delete/", {"post": "yes"})
    assert ModelVersion.objects.filter(pk=version.pk).exists()


def test_a_long_feature_name_is_refused_in_the_form(client: Client) -> None:
    response = upload(client, register_model(name="m"), iris_onnx(), names="a\nb\nc\n" + "x" * 129)
    assert response.status_code == 200
    assert "at most 128 characters" in response.content.decode()
    assert not ModelVersion.objects.exists()


def test_the_page_shows_classes_and_size(client: Client) -> None:
    version = uploaded_version("classifier")
    page = client.get(change_page(version)).content.decode()
    assert "setosa, versicolor, virginica" in page
    assert f"{version.artefact_bytes:,} bytes" in page


@functools.cache
def wide_onnx() -> bytes:
    """Return a regression over one float tensor of 230 columns, more than one form can hold."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 230)).astype(np.float32)
    model = LinearRegression().fit(rows, rows[:, 0])
    content: bytes = to_onnx(model, rows[:1], target_opset=18).SerializeToString()
    return content


def test_a_wide_schema_is_edited_page_by_page(client: Client) -> None:
    version = uploaded_version("wide", onnx=wide_onnx(), features=None, production=False)
    page = client.get(change_page(version), {"features-page": 2}).content.decode()
    features = list(version.features.all())
    assert f'value="{features[100].name}"' in page
    assert f'value="{features[99].name}"' not in page
    shown = features[100:200]
    form = form_of(version, shown, {shown[0].name: {"name": "renamed"}}) | {"features-page": 2}
    assert client.post(change_page(version), form).status_code == 302
    names = list(version.features.order_by("position").values_list("name", flat=True))
    assert names == [*(one.name for one in features[:100]), "renamed", *(one.name for one in features[101:])]
