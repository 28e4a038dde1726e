"""How to log an MLflow model of another flavour as ONNX.

`tests/models_registry/mlflow/build.py` follows each line with MLflow and the framework.
"""

from collections.abc import Mapping

from mlmon.values import shown
from models_registry.mlflow_folders.signature import ColumnType, Signature

_NUMBERS = 'numpy.asarray(X[:1], "float32")'
_BY_NAME = 'X[:1].astype({c: "float32" for c in X.select_dtypes(["number", "bool"])})'
_FLOATS = 'initial_types=[("X", onnxmltools.convert.common.data_types.FloatTensorType([None, X.shape[1]]))]'
# onnxmltools reads no other names of features than f0, f1, …
_WITHOUT_NAMES = {True: "model.feature_names = None; ", False: "model.get_booster().feature_names = None; "}
_EXPORTED = 'onnx.load("model.onnx")'
_LINES = {  # the statements before, and the ONNX model
    "sklearn": ("", f"skl2onnx.to_onnx(model, {_NUMBERS})"),
    "xgboost": ("", f"onnxmltools.convert_xgboost(model, {_FLOATS})"),
    "lightgbm": ("", f"onnxmltools.convert_lightgbm(model, {_FLOATS})"),
    "catboost": ('model.save_model("model.onnx", format="onnx"); ', _EXPORTED),
    "pytorch": (
        "",
        'torch.onnx.export(model.eval(), (torch.tensor(X[:2]),), dynamic_shapes=({0: "rows"},)).model_proto',
    ),
    "keras": ('model.export("model.onnx", format="onnx"); ', _EXPORTED),
    "tensorflow": ('model.export("model.onnx", format="onnx"); ', _EXPORTED),
}
_HINTS = {
    "sklearn": f"If the model selects columns by their names (ColumnTransformer), write {_BY_NAME} instead of "
    f"{_NUMBERS}. ",
    "pytorch": "X is a NumPy array of float32. ",
    "keras": "X is a NumPy array of float32. ",
    "tensorflow": "X is a NumPy array of float32. ",
}


def advice_for_flavours(flavours: Mapping[str, object], mlflow_version: str, signature: Signature | None) -> str:
    """Return why a model without the flavour ``onnx`` is refused; the text ends in the line that logs it as ONNX."""
    others = sorted(flavour for flavour in flavours if flavour != "python_function")
    named = ", ".join(shown(name, 40) for name in others[:5] or ["python_function"])
    refusal = f"The MLflow model has the flavour {named}, not onnx. mlmon serves ONNX, and runs no code of an upload. "
    flavour = next((name for name in _LINES if name in flavours), "")
    before, onnx = _LINES.get(flavour, ("", "onnx_model"))
    hint = _HINTS.get(flavour, "")
    if flavour == "sklearn" and signature and any(column.type is ColumnType.STRING for column in signature.columns):
        onnx, hint = onnx.replace(_NUMBERS, _BY_NAME), ""
    if flavour == "xgboost":
        described = flavours[flavour]
        model_class = str(described.get("model_class", "")) if isinstance(described, dict) else ""
        before = _WITHOUT_NAMES[model_class.endswith(".Booster")]
    # MLflow 3 has renamed the argument.
    name = "artifact_path" if mlflow_version.startswith(("0.", "1.", "2.")) else "name"
    convert = "Log it as ONNX" if flavour else "Convert it to ONNX (onnx_model), and log that"
    return (
        f"{refusal}{hint}{convert}, where X has the rows that it was trained on: {before}mlflow.onnx.log_model({onnx}, "
        f'{name}="model", signature=mlflow.models.infer_signature(X), input_example=X[:5])'
    )
