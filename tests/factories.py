"""Real models for tests: trained with scikit-learn, exported with skl2onnx, registered through the services."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.files.base import ContentFile

from mlmon.schema import TaskType
from models_registry.artefacts.inspection import ArtefactLimits, ArtefactReport, inspect_artefact
from models_registry.models import Model, ModelVersion
from models_registry.schema import Declaration
from models_registry.services.external_versions import register_external_version
from models_registry.services.versions import promote, register_model, upload_version

IRIS_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@functools.lru_cache
def iris_onnx(seed: int = 0) -> bytes:
    """Return a classifier of the iris data with string labels, over one float tensor of four columns."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    model = LogisticRegression(max_iter=1000, C=1.0 + seed).fit(data.data, data.target_names[data.target])
    exported = to_onnx(model, data.data[:1].astype("float32"), options={"zipmap": False}, target_opset=18)
    content: bytes = exported.SerializeToString()
    return content


@functools.lru_cache
def diabetes_onnx() -> bytes:
    """Return a regression of the diabetes data over one float tensor of ten columns."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression

    data = load_diabetes()
    model = LinearRegression().fit(data.data, data.target)
    content: bytes = to_onnx(model, data.data[:1].astype("float32"), target_opset=18).SerializeToString()
    return content


def uploaded_version(
    name: str,
    version: str = "1.0.0",
    *,
    onnx: bytes | None = None,
    features: Sequence[str] | None = IRIS_FEATURES,
    optional: Sequence[str] = (),
    task: TaskType | None = None,
    production: bool = True,
) -> ModelVersion:
    """Return a version of model `name`, registered and uploaded, in production unless told otherwise."""
    model = Model.objects.filter(name=name).first() or register_model(name=name)
    with patch("models_registry.services.versions.inspect_artefact", _inspected_once):
        row = upload_version(
            model=model,
            version=version,
            files=[ContentFile(onnx or iris_onnx(), name="model.onnx")],
            declared=Declaration(task),
            feature_names=features,
            optional=optional,
        )
    if production:
        promote(version=row)
    return row


def version_served_elsewhere(
    name: str,
    version: str = "1.0.0",
    *,
    features: Sequence[str] = IRIS_FEATURES,
    production: bool = True,
    **document: Any,
) -> ModelVersion:
    """Return a version that another server serves, in production unless told otherwise; by default of iris flowers."""
    row = register_external_version(
        model=Model.objects.filter(name=name).first() or register_model(name=name),
        version=version,
        document={
            "task": "classification",
            "classes": ["setosa", "versicolor", "virginica"],
            "features": [{"name": name, "type": "number"} for name in features],
            **document,
        },
    )
    if production:
        promote(version=row)
    return row


def _inspected_once(
    path: Path,
    *,
    limits: ArtefactLimits,
    normalised_path: Path,
    data_files: Mapping[str, Path],
    declared: Declaration,
) -> ArtefactReport:
    """Try the same file out once for all tests: a trial is a process of its own, and takes a third of a second."""
    assert not data_files
    report, normalised = _report(path.read_bytes(), limits, declared)
    if report.is_normalised:
        normalised_path.write_bytes(normalised)
    return report


@functools.lru_cache
def _report(artefact: bytes, limits: ArtefactLimits, declared: Declaration) -> tuple[ArtefactReport, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path, normalised = Path(folder) / "model.onnx", Path(folder) / "normalised.onnx"
        path.write_bytes(artefact)
        report = inspect_artefact(path, limits=limits, normalised_path=normalised, declared=declared)
        return report, normalised.read_bytes() if report.is_normalised else b""
