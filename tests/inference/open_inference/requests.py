"""Requests of the protocol as a client writes them, and features to read them with."""

import gzip
import json
import zlib
from typing import Any

from inference.open_inference.messages import InferMessage
from mlmon.schema import Feature, FeatureKind, TensorType


def feature(name: str, kind: TensorType, *, inside: str = "", column: int = 0, required: bool = False) -> Feature:
    return Feature(
        name=name,
        kind=FeatureKind.CATEGORICAL if kind is TensorType.STRING else FeatureKind.NUMERIC,
        is_required=required,
        input_name=inside or name,
        column=column,
        tensor_type=kind,
    )


FLOWER = [
    feature(name, TensorType.FLOAT32, inside="features", column=index, required=True)
    for index, name in enumerate(("a", "b", "c", "d"))
]
ONE_OF_EACH = [feature(kind.value, kind) for kind in TensorType]


def message(header: Any, binary: bytes = b"", *, encoding: str = "", most_bytes: int = 10**6) -> InferMessage:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    body, length = text + binary, str(len(text)) if binary else None
    if encoding:
        body = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    return InferMessage.of(body, header_length=length, encoding=encoding, most_bytes=most_bytes)


def columns(features: list[Feature], tensors: Any, binary: bytes = b"", most_rows: int = 100) -> dict[str, list[Any]]:
    found = message({"inputs": tensors}, binary).columns(features, most_rows=most_rows)
    return {name: values.tolist() for name, values in found.items()}


def tensor(name: str, datatype: Any, shape: Any, data: Any = None, size: Any = None, **more: Any) -> dict[str, Any]:
    described = {"name": name, "datatype": datatype, "shape": shape, **more}
    if data is not None:
        described["data"] = data
    if size is not None:
        described["parameters"] = {"binary_data_size": size}
    return described
