"""MLflow model folders: what MLflow wrote is served with the framework's predictions, and nothing of it is executed."""

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.values import column_of_json
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError
from models_registry.mlflow_folders.example import LARGEST_BYTES as LARGEST_EXAMPLE
from models_registry.mlflow_folders.mlmodel import LARGEST_BYTES, read_mlmodel
from models_registry.mlflow_folders.signature import features_by_signature, signature_of
from models_registry.models import Model, ModelVersion
from models_registry.services.model_files import files_of_folder
from models_registry.services.versions import register_model, upload_version
from tests.models_registry.mlflow import LoggedModel, logged_model, logged_models

pytestmark = pytest.mark.django_db

NAMES = "The names of the features are those of the MLflow signature, and the types agree with the file."
LARGE = [5.8, 3.1, 7.5, 2.6]  # virginica; in the opposite order it is not
PETALS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture(autouse=True)
def _own_media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def files_in(folder: Path) -> list[ContentFile[bytes]]:
    return [ContentFile(path.read_bytes(), name=path.name) for path in files_of_folder(folder) or ()]


def zipped(folder: Path, **more: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("model") / path.relative_to(folder))
        for name, content in more.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def strings(tmp_path: Path) -> Path:
    """Return a copy of a folder whose model has an input for each column."""
    return shutil.copytree(logged_model("sklearn-strings").folder, tmp_path / "model")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Return a copy of a folder whose model has one input for four columns."""
    return shutil.copytree(logged_model("sklearn").folder, tmp_path / "model")


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "MLmodel"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def set_inputs(folder: Path, inputs: object) -> None:
    """Replace the inputs of the signature."""
    path = folder / "MLmodel"
    before, _, after = path.read_text(encoding="utf-8").partition("  inputs: ")
    quoted = json.dumps(inputs).replace("'", "''")
    path.write_text(f"{before}  inputs: '{quoted}'\n  outputs{after.partition('  outputs')[2]}", encoding="utf-8")


def upload(folder: Path, **options: Any) -> ModelVersion:
    return upload_version(model="m", version="1.0.0", files=files_in(folder), **options)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ArtefactError) as caught:
        upload(folder, **options)
    assert not Model.objects.exists()
    return str(caught.value)


# --- what MLflow wrote ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logged", logged_models(), ids=lambda logged: logged.name)
def test_a_folder_is_served_with_the_predictions_of_the_framework(logged: LoggedModel) -> None:
    call_command("upload_version", "m", "1.0.0", str(logged.folder))
    version = ModelVersion.objects.get()
    features = version.schema().features
    if logged.features:
        assert [feature.name for feature in features] == logged.features
    columns = zip(*logged.rows, strict=True)
    table = {each.name: column_of_json(each, values) for each, values in zip(features, columns, strict=True)}
    predicted = Engine(version.served_path(), version.schema(), timeout_seconds=5).predict(table)
    if logged.probabilities is None:
        np.testing.assert_allclose(predicted.labels.astype(float), logged.predictions, rtol=1e-5)
    else:
        assert predicted.labels.tolist() == [str(label) for label in logged.predictions]
        assert predicted.scores is not None
        np.testing.assert_allclose(predicted.scores, logged.probabilities, rtol=1e-4, atol=1e-6)
    assert "Predicted for the 5 rows of the MLflow input example: " in version.remarks[-1]


@pytest.mark.parametrize("logged", logged_models(), ids=lambda logged: logged.name)
def test_another_flavour_is_refused_with_the_line_that_has_logged_it_as_onnx(logged: LoggedModel) -> None:
    """`build.py` has executed the line and kept the folder that it made, which the test above serves."""
    with pytest.raises(CommandError, match="mlmon serves ONNX, and runs no code of an upload") as refused:
        call_command("upload_version", "m", "1.0.0", str(logged.refused))
    assert refused.value.returncode == 1
    if logged.name == "sklearn-columns":  # the message has both ways
        by_name = 'X[:1].astype({c: "float32" for c in X.select_dtypes(["number", "bool"])})'
        assert by_name in logged.line
        assert f'{by_name} instead of numpy.asarray(X[:1], "float32")' in str(refused.value)
    else:
        assert str(refused.value).endswith(f": {logged.line}")
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    "flavours", ["  python_function:\n    loader_module: own", "  prophet: {}\n  python_function: {}"]
)
def test_a_flavour_without_a_known_converter_is_refused_too(flavours: str, numbers: Path) -> None:
    (numbers / "MLmodel").write_text(f"flavors:\n{flavours}\nmlflow_version: 2.9.0\n", encoding="utf-8")
    message = refusal(numbers)
    assert ('"prophet"' if "prophet" in flavours else '"python_function"') in message
    assert 'mlflow.onnx.log_model(onnx_model, artifact_path="model"' in message


def test_a_large_model_of_another_flavour_is_refused_by_its_flavour(settings: Settings, numbers: Path) -> None:
    settings.MLMON_MAX_ARTEFACT_BYTES = 2**16
    shutil.copy(logged_model("lightgbm").refused, numbers / "MLmodel")
    (numbers / "A-model.pkl").write_bytes(bytes(2**17))
    assert "convert_lightgbm" in refusal(numbers)
    archive = ContentFile(zipped(numbers), name="model.zip")
    with pytest.raises(ArtefactError, match="convert_lightgbm"):
        upload_version(model="m", version="1.0.0", files=[archive])


# --- entry points ---------------------------------------------------------------------------------------------------


def test_the_terminal_takes_the_folder_or_a_file_in_it(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (numbers / "code").mkdir()
    (numbers / "code" / "own.py").write_text("raise SystemExit", encoding="utf-8")
    (numbers / ".DS_Store").write_bytes(b"x")
    digests = set()
    for minor, path in enumerate((numbers, numbers / "MLmodel", numbers / "model.onnx")):
        call_command("upload_version", "m", f"1.{minor}.0", str(path), "--json")
        document = json.loads(capsys.readouterr().out)
        assert [feature["name"] for feature in document["features"]] == PETALS
        assert NAMES in document["remarks"]
        digests.add(document["artefact_sha256"])
    assert len(digests) == 1
    stored = ModelVersion.objects.get(version="1.0.0").artefact
    with zipfile.ZipFile(stored.path) as kept:
        assert set(kept.namelist()) == {path.name for path in logged_model("sklearn").folder.iterdir()}


def test_the_terminal_names_what_a_folder_lacks(numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=rf"has no file MLmodel\. Name a folder in it: {numbers}"):
        call_command("upload_version", "m", "1.0.0", str(tmp_path))
    shutil.copy(numbers / "model.onnx", numbers / "other.onnx")
    with pytest.raises(CommandError, match=r'is for the file "model\.onnx", not "other\.onnx"'):
        call_command("upload_version", "m", "1.0.0", str(numbers / "other.onnx"))
    (numbers / "model.onnx").unlink()
    for absent in (numbers / "model.onnx", tmp_path / "MLmodel", tmp_path / "absent" / "MLmodel"):
        with pytest.raises(CommandError, match="There is no file") as refused:
            call_command("upload_version", "m", "1.0.0", str(absent))
        assert refused.value.returncode == 2
    with pytest.raises(CommandError, match=r'the file "model\.onnx" was not uploaded'):
        call_command("upload_version", "m", "1.0.0", str(numbers))
    for place in range(100):
        (numbers / f"{place}.txt").touch()
    with pytest.raises(CommandError, match="files; at most 100 are supported"):
        call_command("upload_version", "m", "1.0.0", str(numbers))
    (numbers / "MLmodel").unlink()
    with pytest.raises(CommandError, match=r"has no file MLmodel\. Name the ONNX file") as refused:
        call_command("upload_version", "m", "1.0.0", str(numbers))
    assert refused.value.returncode == 1
    call_command("upload_version", "m", "1.0.0", str(numbers / "other.onnx"))


def test_the_form_takes_a_zip_archive_and_shows_the_remarks(client: Client, admin_user: User, strings: Path) -> None:
    client.force_login(admin_user)
    registered = register_model(name="m")
    form = {"model": registered.pk, "version": "1.0.0", "feature_names": "", "notes": "", "task": "", "scores": ""}
    add = "/admin/models_registry/modelversion/add/"
    archive = SimpleUploadedFile("model.zip", zipped(logged_model("xgboost").refused.parent))
    refused = client.post(add, {**form, "classes": "", "artefact": archive}).content.decode()
    assert "onnxmltools.convert_xgboost(model" in refused
    archive = SimpleUploadedFile("model.zip", zipped(strings))
    assert client.post(add, {**form, "classes": "", "artefact": archive}).status_code == 302
    version = ModelVersion.objects.get()
    page = client.get(f"/admin/models_registry/modelversion/{version.pk}/change/").content.decode()
    assert NAMES in page
    assert "Income (k$)" in page
    assert "Predicted for the 5 rows of the MLflow input example: approved" in page


def test_the_api_takes_a_zip_archive_or_several_files(client: Client, strings: Path) -> None:
    headers = {"Authorization": f"Bearer {create_token(name='ci', scope='registry')[1]}"}
    register_model(name="m")
    url = "/api/v1/models/m/versions"

    def send(version: str, **fields: Any) -> Any:
        return client.post(url, {"version": version, **fields}, headers=headers)

    several = [SimpleUploadedFile(file.name or "", file.read()) for file in files_in(strings)]
    for version, artefact in (("1.0.0", several), ("1.1.0", SimpleUploadedFile("m.zip", zipped(strings)))):
        first = send(version, artefact=artefact)
        assert (first.status_code, first.json()["features"][1]["name"]) == (201, "Income (k$)")
        assert NAMES in first.json()["remarks"]
    for file in several:
        file.seek(0)
    stated = {"categorical": "age", "optional": '["age", "Income (k$)"]'}
    assert send("1.2.0", artefact=several, **stated).status_code == 201
    for file in several:
        file.seek(0)
    assert send("1.2.0", artefact=several, **stated).status_code == 200
    for file in several:
        file.seek(0)
    assert send("1.0.0", artefact=several, **stated).status_code == 409
    alone = send("2.0.0", artefact=SimpleUploadedFile("MLmodel", (strings / "MLmodel").read_bytes()))
    assert alone.status_code == 422
    assert 'the file "model.onnx" was not uploaded' in alone.content.decode().replace('\\"', '"')


def test_an_archive_of_several_models_is_refused_but_a_copy_of_mlmodel_is_not(numbers: Path) -> None:
    content = (numbers / "MLmodel").read_bytes()
    archive = zipped(numbers, **{"model/metadata/MLmodel": content})
    version = upload_version(model="m", version="1.0.0", files=[ContentFile(archive, name="m.zip")])
    assert NAMES in version.remarks
    archive = zipped(numbers, **{"other/MLmodel": content})
    with pytest.raises(ArtefactError, match=r"Several files are named MLmodel \(model/MLmodel, other/MLmodel\)"):
        upload_version(model=version.model, version="1.0.1", files=[ContentFile(archive, name="m.zip")])


# --- the signature gives defaults -----------------------------------------------------------------------------------


def features_of_version(version: ModelVersion) -> dict[str, tuple[str, bool]]:
    return {each.name: (each.kind.value, each.is_required) for each in version.schema().features}


def test_the_signature_gives_names_optional_columns_and_categories(strings: Path) -> None:
    version = upload(strings)
    assert features_of_version(version) == {
        "age": ("numeric", True),
        "Income (k$)": ("numeric", False),
        "region": ("categorical", True),
        "member": ("categorical", True),
    }
    assert version.remarks[1:5] == [
        NAMES,
        'Optional in the MLflow signature, so a missing value is NaN (of a string: ""): "Income (k$)".',
        'Boolean in the MLflow signature, so categories: "member".',
        'Long in the MLflow signature, float32 in the file, so whole numbers beyond 16,777,216 are rounded: "age".',
    ]


def test_what_a_person_states_wins_over_the_signature(strings: Path) -> None:
    assert 'row 1, feature "Income (k$)": a value is required' in refusal(strings, optional=["age"])
    rewrite(strings, "saved_input_example_info", "_")
    stated = features_of_version(upload(strings, optional=["age"], categorical=["age"]))
    assert stated == {
        "age": ("categorical", False),
        "Income (k$)": ("numeric", True),
        "region": ("categorical", True),
        "member": ("numeric", True),
    }


def test_stated_names_replace_the_signature(strings: Path) -> None:
    set_inputs(strings, [{"name": "x", "type": "datetime"}])
    assert "has no column for the input" in refusal(strings)
    version = upload(strings, feature_names=["a", "b", "c", "d"], optional=["b"])
    assert features_of_version(version) == {
        "a": ("numeric", True),
        "b": ("numeric", False),
        "c": ("categorical", True),
        "d": ("numeric", True),
    }
    assert "The MLflow signature was not used, because the names of the features were stated." in version.remarks


def test_a_model_without_a_signature_or_an_example_keeps_the_names_of_the_file(strings: Path) -> None:
    (strings / "MLmodel").write_text("flavors:\n  onnx:\n    data: ./model.onnx\nsignature: null\n", encoding="utf-8")
    version = upload(strings)
    assert [each.name for each in version.schema().features] == ["age", "Income__k__", "region", "member"]
    assert version.remarks[-1] == "The MLflow model has no signature, so the names of the features are the file's."


def feature(name: str, tensor_type: TensorType = TensorType.FLOAT32, *, of: str = "", column: int = 0) -> Feature:
    return Feature(name, FeatureKind.NUMERIC, True, of or name, column, tensor_type)


ONE_INPUT = [feature("f0", of="X"), feature("f1", of="X", column=1)]
TWO_INPUTS = [feature("b"), feature("_1st_a", TensorType.INT64)]


def described(features: list[Feature], inputs: list[dict[str, Any]]) -> tuple[list[Feature], list[str]]:
    signature = signature_of(inputs)
    assert signature
    return features_by_signature(features, signature, with_optional=True, with_categories=True)


def column(name: str, kind: str = "double", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def tensor(dtype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}, **more}


def test_columns_are_matched_by_order_with_one_input_and_by_name_with_several() -> None:
    features, remarks = described(ONE_INPUT, [column("f1"), column("f0")])
    assert [(each.name, each.column) for each in features] == [("f1", 0), ("f0", 1)]  # MLflow passes the table's values
    assert remarks == [NAMES]
    features, remarks = described(TWO_INPUTS, [column("1st a", "long"), column("unused"), column("b")])
    assert [(each.name, each.input_name) for each in features] == [("1st a", "_1st_a"), ("b", "b")]
    assert remarks == [
        NAMES,
        "The features are in the order of the MLflow signature, not of the file's inputs.",
        'In the MLflow signature, but not inputs of the model: "unused".',
    ]


def test_rows_in_the_order_of_the_signature_reach_the_right_inputs(strings: Path) -> None:
    logged = logged_model("sklearn-strings")
    order = [3, 2, 1, 0]
    inputs = json.loads(inputs_of(strings))
    set_inputs(strings, [inputs[place] for place in order])
    version = upload(strings)
    features = version.schema().features
    assert [each.name for each in features] == [logged.features[place] for place in order]
    rows = [[row[place] for place in order] for row in logged.rows]
    table = {
        each.name: column_of_json(each, values) for each, values in zip(features, zip(*rows, strict=True), strict=True)
    }
    predicted = Engine(version.served_path(), version.schema(), timeout_seconds=5).predict(table)
    assert predicted.labels.tolist() == logged.predictions


def inputs_of(folder: Path) -> str:
    import yaml

    found = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["signature"]["inputs"]
    assert isinstance(found, str)
    return found


def test_an_optional_column_of_integers_stays_required() -> None:
    inputs = [column("1st a", "long", required=False), column("b", optional=True)]
    features, remarks = described(TWO_INPUTS, inputs)
    assert [each.is_required for each in features] == [True, False]
    assert remarks[-1] == (
        "Optional in the MLflow signature, but required, because the file's integers and booleans cannot be missing: "
        '"1st a".'
    )


def test_columns_without_names_and_tensors_keep_the_names_of_the_file() -> None:
    for inputs in ([{"type": "double"}, {"type": "float"}], [tensor("float64", -1, 2)], [tensor("int64", -1, -1)]):
        features, remarks = described(ONE_INPUT, inputs)
        assert features == ONE_INPUT
        assert "has no column names" in remarks[0]
    nameless = [{"type": "string"}, {"type": "boolean"}, {"type": "double"}]  # in an unknown order
    assert described(TWO_INPUTS, nameless)[0] == TWO_INPUTS
    several = [tensor("int64", -1, name="_1st_a"), tensor("float32", -1, 1, name="b")]
    assert described(TWO_INPUTS, several)[0] == TWO_INPUTS


@pytest.mark.parametrize(
    ("features", "inputs", "reason"),
    [
        (ONE_INPUT, [column("a")], "has 1 columns; the model has 2 features"),
        (ONE_INPUT, [column("a"), column("b", "string")], 'Column "b" is string .* takes float32'),
        (ONE_INPUT, [column("a"), column("b", "datetime")], 'Column "b" is datetime .* no feature can be'),
        (ONE_INPUT, [column("a"), {"name": "b", "type": "array", "items": {"type": "double"}}], 'Column "b" is array'),
        ([feature("a", TensorType.STRING)], [column("a", "long")], 'Column "a" is long .* takes string'),
        ([feature("a", TensorType.INT64)], [column("a", "double")], 'Column "a" is double .* takes int64'),
        ([feature("a", TensorType.BOOL)], [column("a", "integer")], 'Column "a" is integer .* takes bool'),
        (TWO_INPUTS, [column("b"), column("c", "long")], 'no column for the input "_1st_a" of the model'),
        (TWO_INPUTS, [column("b"), column("1st a", "long"), column("1st-a", "long")], "Several columns"),
        ([*ONE_INPUT, feature("b")], [column("a"), column("b"), column("c")], "their order is unknown"),
        (ONE_INPUT, [tensor("float32", -1, 3)], r"shape \[-1, 3\], but the model's input takes 2 columns"),
        (ONE_INPUT, [tensor("float32", -1, 2, 2)], r"shape \[-1, 2, 2\]"),
        (ONE_INPUT, [tensor("str", -1, 2)], 'is "str", but the model\'s input takes float32'),
        (TWO_INPUTS, [tensor("float32", -1, 1, name="b")], '"_1st_a" is not in both'),
    ],
)  # fmt: skip
def test_a_signature_of_other_inputs_is_refused(features: list[Feature], inputs: list[Any], reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason) as refused:
        described(features, inputs)
    assert "State the names of the features to do without the signature" in str(refused.value)


# --- the input example is tried -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "predicted"),
    [
        ({"columns": PETALS[::-1], "data": [LARGE[::-1]]}, "the row"),
        ({"data": [LARGE, LARGE]}, "the 2 rows"),
        ({"inputs": [LARGE]}, "the row"),
        ({"inputs": {"X": [LARGE]}, "params": {}}, "the row"),
        ({"dataframe_split": {"columns": PETALS, "data": [LARGE]}}, "the row"),
        ([dict(zip(PETALS, LARGE, strict=True))], "the row"),
        (dict(zip(PETALS, LARGE, strict=True)), "the row"),
        (dict(zip(PETALS, [[number] * 2 for number in LARGE], strict=True)), "the 2 rows"),
    ],
)
def test_every_form_of_an_input_example_is_tried(document: object, predicted: str, numbers: Path) -> None:
    (numbers / "input_example.json").write_text(json.dumps(document), encoding="utf-8")
    texts = ", ".join(["virginica"] * (2 if "2" in predicted else 1))
    assert upload(numbers).remarks[-1] == f"Predicted for {predicted} of the MLflow input example: {texts}."


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[[1, 2, 3]]", "has 3 columns; the model has 4 features"),
        (
            json.dumps({"columns": ["petal length (cm)", "b"], "data": [[1, 2]]}),
            'no column for the feature "sepal length',
        ),
        (json.dumps([[1, 2, 3, 4], [1, 2, None, 4]]), 'row 2, feature "petal length \\(cm\\)": .*missing'),
        (json.dumps([[1, 2, 3, "wide"]]), 'row 1, feature "petal width \\(cm\\)": expected a number, got "wide"'),
    ],
)
def test_an_input_example_that_does_not_fit_is_refused(document: str, reason: str, numbers: Path) -> None:
    (numbers / "input_example.json").write_text(document, encoding="utf-8")
    with pytest.raises(ArtefactError, match=reason):
        upload(numbers)
    assert not Model.objects.exists()


@pytest.mark.parametrize("document", ["5", '"text"', "[]", "{}", "[[1], [1, 2]]", "[[[1]]]", '{"a": [1], "b": [1, 2]}'])
def test_an_input_example_that_is_no_table_is_left_out(document: str, numbers: Path) -> None:
    (numbers / "input_example.json").write_text(document, encoding="utf-8")
    expected = "The MLflow input example was not tried, because it is not a table or a matrix, or a large one."
    assert expected in upload(numbers).remarks[-1]


def test_an_input_example_with_too_many_values_is_left_out(numbers: Path) -> None:
    rows = [{str(place): 0 for place in range(2_000)}, *[{} for _ in range(999)]]
    (numbers / "input_example.json").write_text(json.dumps(rows), encoding="utf-8")
    assert "was not tried" in upload(numbers).remarks[-1]


def test_a_large_input_example_is_left_out(numbers: Path) -> None:
    (numbers / "input_example.json").write_bytes(b" " * (LARGEST_EXAMPLE + 1))
    assert "more than 1 MiB" in upload(numbers).remarks[-1]


def test_the_example_of_the_server_is_tried_if_the_other_is_absent(numbers: Path) -> None:
    (numbers / "input_example.json").unlink()
    assert "5 rows of the MLflow input example" in upload(numbers).remarks[-1]


# --- nothing is executed, nothing else is read ----------------------------------------------------------------------


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_no_code_of_a_folder_runs(numbers: Path, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    (numbers / "model.pkl").write_bytes(pickle.dumps(_Bomb(trap)))
    (numbers / "sitecustomize.py").write_text(f"open({str(trap)!r}, 'w')", encoding="utf-8")
    tags = f'metadata: !!python/object/apply:os.system ["touch {trap}"]\nother: !!python/name:os.system\n'
    with (numbers / "MLmodel").open("a", encoding="utf-8") as file:
        file.write(tags)
    assert NAMES in upload(numbers).remarks
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../model.onnx", "{outside}", "..\\model.onnx", "model.onnx/", "MLmodel", "."])
def test_names_in_mlmodel_are_only_looked_up(name: str, numbers: Path, tmp_path: Path) -> None:
    outside = tmp_path / "model.onnx"
    shutil.move(numbers / "model.onnx", outside)
    rewrite(
        numbers, "  onnx:\n    code: null\n    data: model.onnx", f"  onnx:\n    data: {name.format(outside=outside)}"
    )
    assert "was not uploaded" in refusal(numbers)


def test_an_example_outside_the_folder_is_not_read(numbers: Path, tmp_path: Path) -> None:
    (numbers / "input_example.json").rename(tmp_path / "input_example.json")
    rewrite(numbers, "artifact_path: input_example.json", "artifact_path: ../input_example.json")
    rewrite(
        numbers, "serving_input_path: serving_input_example.json", f"serving_input_path: {tmp_path}/input_example.json"
    )
    assert "input example" not in " ".join(upload(numbers).remarks)


@pytest.mark.parametrize("name", ["model.onnx", "MLmodel", "input_example.json", "extra"])
def test_symbolic_links_are_refused(name: str, numbers: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    if (numbers / name).exists():
        shutil.move(numbers / name, target)
    (numbers / name).symlink_to(target)
    with pytest.raises(CommandError, match=f"{name} is a symbolic link, which is not followed"):
        call_command("upload_version", "m", "1.0.0", str(numbers))
    link = zipfile.ZipInfo("model/link")
    link.external_attr = 0o120777 << 16
    packed = io.BytesIO(zipped(logged_model("sklearn").folder))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArtefactError, match="'model/link' in the archive is a symbolic link"):
        upload_version(model="m", version="1.0.0", files=[ContentFile(packed.getvalue(), name="m.zip")])
    assert not Model.objects.exists()


def test_committed_folders_are_small_and_name_no_folder_of_a_machine() -> None:
    for logged in logged_models():
        paths = [path for path in logged.folder.parent.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in paths) < 30_000, logged.name
        assert not any(b"/tmp" in path.read_bytes() or b"/home" in path.read_bytes() for path in paths), logged.name


# --- malformed MLmodel ----------------------------------------------------------------------------------------------

ONNX = "flavors:\n  onnx:\n    data: model.onnx\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def with_inputs(inputs: str) -> str:
    return f"{ONNX}signature:\n  inputs: '{inputs}'\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "MLmodel has no fields"),
        ("just text", "MLmodel has no fields"),
        ("- a\n- b", "MLmodel has no fields"),
        ("flavors: [onnx", r"MLmodel, line 1: invalid YAML \(expected ',' or '\]'"),
        ("a: b: c", "MLmodel, line 1: invalid YAML"),
        ("--- 1\n--- 2\n", "MLmodel, line 2: invalid YAML"),
        ("? [a]\n: b", "MLmodel, line 1: invalid YAML"),
        ("a: !x!y z", "invalid YAML"),
        (b"\xff\xfe\x00", "not a text in UTF-8"),
        (b"a: \x00", "not a text in UTF-8"),
        (b"\x80abc", "not a text in UTF-8"),
        (BOMB + ONNX, "MLmodel, line 2: YAML aliases are not supported"),
        ("<<: &a {b: c}\n" + ONNX, None),
        ("[" * 5000, "nested more than 20 deep"),
        ("{a: " * 5000, "nested more than 20 deep"),
        ("x: [" + "a," * 20_000 + "]", "more than 10,000 values"),
        ("a: " + "9" * 100_000 + "\n" + ONNX, None),
        ("a: 2026-99-99\n" + ONNX, None),
        ("x: " + "y" * (LARGEST_BYTES + 1), "more than 512 KiB"),
        ("time: 1", "MLmodel has no flavors"),
        ("flavors: null", "MLmodel has no flavors"),
        ("flavors: {}", "MLmodel has no flavors"),
        ("flavors: onnx", 'MLmodel, flavors: expected fields, got "onnx"'),
        ("flavors: {onnx: model.onnx}", 'MLmodel, flavors.onnx: expected fields, got "model.onnx"'),
        ("flavors: {onnx: null}", "MLmodel, flavors.onnx.data: the name of the ONNX file is missing"),
        ("flavors: {onnx: {data: [a]}}", "MLmodel, flavors.onnx.data: expected the name of a file, got a list"),
        (ONNX + "signature: text", 'MLmodel, signature: expected fields, got "text"'),
        (ONNX + "signature: {inputs: {a: b}}", "signature.inputs: expected a JSON list in a string, got an obj"),
        (ONNX + "saved_input_example_info: [a]", "MLmodel, saved_input_example_info: expected fields, got a list"),
        (ONNX + "saved_input_example_info: {artifact_path: {a: b}}",
         "MLmodel, saved_input_example_info.artifact_path: expected the name of a file, got an object"),
        (with_inputs("["), r"MLmodel, signature.inputs: invalid JSON"),
        (with_inputs("[" * 100_000), r"MLmodel, signature.inputs: invalid JSON"),
        (with_inputs("9" * 5000), r"MLmodel, signature.inputs: invalid JSON"),
        (with_inputs('{"type": "double"}'), "MLmodel, signature.inputs: expected a list, got an object"),
        (with_inputs("[5]"), r"MLmodel, signature.inputs\[0\]: expected an object, got 5"),
        (with_inputs('[{"name": "a"}]'), r"MLmodel, signature.inputs\[0\]: the type is missing"),
        (with_inputs('[{"type": "decimal"}]'), r'inputs\[0\].type: expected one of boolean, .*, got "decimal"'),
        (with_inputs('[{"type": ["double"]}]'), r"inputs\[0\].type: expected one of boolean, .*, got a list"),
        (with_inputs('[{"type": {}}]'), r"inputs\[0\].type: expected one of boolean, .*, got an object"),
        (with_inputs('[{"type": "double", "name": ["a"]}]'), r"inputs\[0\].name: expected a string, got a list"),
        (with_inputs('[{"type": "double", "required": "no"}]'), r'required: expected true or false, got "no"'),
        (with_inputs('[{"type": "double", "name": "a"}, {"type": "double"}]'), "1 of 2 inputs have no name"),
        (with_inputs('[{"type": "double", "name": "a"}, {"type": "long", "name": "a"}]'), '2 inputs have the name'),
        (with_inputs('[{"type": "tensor"}]'), r"inputs\[0\].tensor-spec: expected dtype and shape, got null"),
        (with_inputs('[{"type": "tensor", "tensor-spec": {"dtype": 1}}]'), "tensor-spec.dtype: expected a string"),
        (with_inputs('[{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": "4"}}]'),
         "tensor-spec.shape: expected a list of whole numbers"),
        (with_inputs('[{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [1]}}, {"type": "double"}]'),
         "expected columns or tensors, got both"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_a_malformed_mlmodel_is_refused_with_the_field(
    content: str | bytes, reason: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "MLmodel"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if reason is None:
        assert read_mlmodel(path).onnx_file == "model.onnx"
        return
    with pytest.raises(ArtefactError, match=reason) as refused:
        read_mlmodel(path)
    assert len(str(refused.value)) < 500


def test_a_malformed_mlmodel_is_no_traceback_at_the_terminal(numbers: Path) -> None:
    (numbers / "MLmodel").write_text("flavors: [", encoding="utf-8")
    with pytest.raises(CommandError, match="MLmodel, line 1: invalid YAML") as refused:
        call_command("upload_version", "m", "1.0.0", str(numbers / "model.onnx"))
    assert refused.value.returncode == 1
