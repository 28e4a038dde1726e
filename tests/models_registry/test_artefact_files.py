"""Files and graphs that are refused before anything runs, by their first bytes or their operators."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from models_registry.artefacts.inspection import inspect_artefact
from models_registry.exceptions import ArtefactError
from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import LIMITS, refusal
from tests.models_registry.onnx_models import node

# --- refused by the first bytes -------------------------------------------------------------------------------------


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return buffer.getvalue()


def _joblib(compress: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(LogisticRegression(), buffer, compress=compress)
    return buffer.getvalue()


PICKLE = pickle.dumps(LogisticRegression())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (PICKLE, "a pickle"),
        (_joblib(0), "a pickle"),
        (_joblib(3), "zlib-compressed"),
        (_joblib(("zlib", 9)), "zlib-compressed"),
        (_joblib(("gzip", 3)), "gzip-compressed"),
        (_joblib(("bz2", 3)), "bzip2-compressed"),
        (_joblib(("xz", 3)), "xz-compressed"),
        (_joblib(("lzma", 3)), "lzma-compressed"),
        (zlib.compress(PICKLE, 1), "zlib-compressed"),
        (gzip.compress(PICKLE), "gzip-compressed"),
        (bz2.compress(PICKLE), "bzip2-compressed"),
        (lzma.compress(PICKLE), "xz-compressed"),
        (_zip(), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(32), "HDF5"),
        (b"tree\nversion=v4\n", "LightGBM"),
        (b'{"learner": {}}', "JSON"),
    ],
)
def test_other_formats_are_refused_by_content(content: bytes, named: str, tmp_path: Path) -> None:
    message = refusal(content, tmp_path)
    assert named in message
    assert "not ONNX" in message
    assert "Export the model to ONNX" in message


@pytest.mark.parametrize("protocol", [0, 1])
def test_pickles_of_every_protocol_are_refused(protocol: int, tmp_path: Path) -> None:
    assert "Export the model to ONNX" in refusal(pickle.dumps(LogisticRegression(), protocol=protocol), tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"hello", bytes(100), b"\x08\x08", build.identity_model().SerializeToString()[:-9], b"<html></html>"],
    ids=["text", "zeros", "no graph", "cut off", "html"],
)
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "not an ONNX model" in refusal(content, tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refusal(b"", tmp_path)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(LIMITS.size_bytes + 1)
    with pytest.raises(ArtefactError, match=r"256\.0 MiB"):
        inspect_artefact(path, limits=LIMITS)


# --- refused by the graph -------------------------------------------------------------------------------------------


def test_external_data_is_refused(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Add", ["X", "bias"], ["Y"])], initializers=[build.constant("bias", np.ones(2000), np.float32)]
    )
    onnx.save(model, tmp_path / "external.onnx", save_as_external_data=True, location="weights.bin")
    with pytest.raises(ArtefactError, match="'bias' is stored in another file"):
        inspect_artefact(tmp_path / "external.onnx", limits=LIMITS)


def test_external_data_in_an_attribute_is_refused(tmp_path: Path) -> None:
    tensor = build.constant("secret", [1.0], np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    model = build.graph_model([node("Constant", [], ["c"], value=tensor), node("Add", ["X", "c"], ["Y"])])
    assert "'secret' is stored in another file" in refusal(model, tmp_path)


@pytest.mark.parametrize("domain", ["com.microsoft", "my.domain"])
def test_custom_domains_are_refused(domain: str, tmp_path: Path) -> None:
    model = build.graph_model([node("Gelu", ["X"], ["Y"], domain=domain)], domains=[domain])
    assert f"custom domain '{domain}'" in refusal(model, tmp_path)


@pytest.mark.parametrize("operator", ["RandomUniformLike", "NonZero", "RegexFullMatch", "MadeUp"])
def test_unsupported_operators_are_refused(operator: str, tmp_path: Path) -> None:
    message = refusal(build.graph_model([node(operator, ["X"], ["Y"])]), tmp_path)
    assert f"Operator {operator} is not supported" in message


def test_functions_are_refused(tmp_path: Path) -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = build.graph_model([node("Twice", ["X"], ["Y"], domain="local")], domains=["local"])
    model.functions.append(function)
    assert "its own functions" in refusal(model, tmp_path)


def test_a_loop_is_refused(tmp_path: Path) -> None:
    assert "Operator Loop contains a subgraph" in refusal(build.loop_model(2**62), tmp_path)


def test_the_scan_of_an_export_is_refused(tmp_path: Path) -> None:
    assert "Operator Scan contains a subgraph" in refusal(build.iris_export(KNeighborsClassifier()), tmp_path)


def test_a_branch_is_refused(tmp_path: Path) -> None:
    branch = helper.make_graph([node("Identity", ["X"], ["out"])], "branch", [], [build.value("out")])
    model = build.graph_model(
        [node("If", ["yes"], ["Y"], then_branch=branch, else_branch=branch)],
        initializers=[build.constant("yes", True, np.bool_)],
    )
    assert "Operator If contains a subgraph" in refusal(model, tmp_path)


def test_a_subgraph_hidden_in_an_attribute_is_refused(tmp_path: Path) -> None:
    model = build.identity_model()
    attribute = model.graph.node[0].attribute.add(name="note", type=onnx.AttributeProto.INT)
    attribute.g.CopyFrom(build.loop_model(2**62).graph)
    assert "a subgraph" in refusal(model, tmp_path)


def test_sparse_initializers_are_refused(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        build.constant("weights", [1.0], np.float32), build.constant("places", [0], np.int64), [1]
    )
    model = build.graph_model([node("Add", ["X", "weights"], ["Y"])])
    model.graph.sparse_initializer.append(sparse)
    assert "sparse initializers" in refusal(model, tmp_path)
    constant = build.graph_model([node("Constant", [], ["c"], sparse_value=sparse), node("Add", ["X", "c"], ["Y"])])
    assert "sparse tensor" in refusal(constant, tmp_path)


def test_training_graphs_are_refused(tmp_path: Path) -> None:
    model = build.identity_model()
    model.training_info.add().algorithm.CopyFrom(build.loop_model(2**62).graph)
    assert "training graphs" in refusal(model, tmp_path)


def test_zipmap_is_refused_with_a_solution(tmp_path: Path) -> None:
    content = build.iris_export(LogisticRegression(max_iter=500), zipmap=True)
    assert 'options={"zipmap": False}' in refusal(content, tmp_path)


def test_shapes_that_depend_on_feature_values_are_refused(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["X"], ["length"], to=TensorProto.INT64),
        node("Reshape", ["length", "flat"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["many"]),
        node("ReduceSum", ["many"], ["Y"]),
    ]
    model = build.graph_model(nodes, initializers=[build.constant("flat", [-1], np.int64)])
    assert "The shape of ConstantOfShape's result depends on feature values" in refusal(model, tmp_path)


def test_a_file_that_grows_when_it_is_parsed_is_refused(tmp_path: Path) -> None:
    # A node without content has two bytes in the file and more than a hundred in memory.
    graph = b"\x0a\x00" * 4_000_000
    length = len(graph)
    varint = b""
    while length >= 0x80:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    content = b"\x08\x08\x3a" + varint + bytes([length]) + graph
    limits = replace(LIMITS, memory_bytes=64 * 1024 * 1024)
    assert "needs more memory" in refusal(content, tmp_path, limits)
