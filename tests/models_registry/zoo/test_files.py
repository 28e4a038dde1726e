"""The zoo's files are what their descriptions say."""

import re

import pytest

from tests.models_registry.zoo import FILES, ZooModel, zoo
from tests.models_registry.zoo.comparison import compare

MODELS = {model.name: model for model in zoo()}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> ZooModel:
    """Each model in turn."""
    return MODELS[request.param]


NEEDS_A_LOCALE = [name for name, model in MODELS.items() if "locale" in model.onnxruntime]  # en_US.UTF-8


@pytest.mark.parametrize("name", [name for name in MODELS if name not in NEEDS_A_LOCALE])
def test_onnx_runtime_predicts_as_recorded(name: str) -> None:
    model = MODELS[name]
    result, outputs = compare(model)
    assert result.split(":")[0] == model.onnxruntime.split(":")[0]
    assert outputs == model.outputs


def test_described_rows_fit_together(model: ZooModel) -> None:
    assert {len(row) for row in model.rows} == {len(model.features)}
    assert len(model.predictions) == len(model.rows)
    if model.classes is not None and model.task == "classification" and not isinstance(model.predictions[0], list):
        assert {str(label) for label in model.predictions} <= {str(label) for label in model.classes}
    assert model.fixes is None or model.fixes in MODELS


def test_files_are_small_and_name_no_folder_of_the_builder() -> None:
    sizes = {path.name: path.stat().st_size for path in FILES.iterdir()}
    assert max(sizes.values()) < 60_000
    assert sum(sizes.values()) < 2_000_000
    for path in FILES.iterdir():
        assert not re.search(rb"/(tmp|home|work|root)/", path.read_bytes()), path.name
