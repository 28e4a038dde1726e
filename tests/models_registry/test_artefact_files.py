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

from models_registry.artefacts.inspection import inspect_artefact
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError
from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import LIMITS, REGRESSION, inspect, refusal
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
        inspect_artefact(path, limits=LIMITS, normalised_path=tmp_path / "normalised")


# --- refused by the graph -------------------------------------------------------------------------------------------


def with_external_data(folder: Path) -> onnx.ModelProto:
    """Return a model with the tensor ``bias`` of 2,000 numbers in the file weights.bin."""
    model = build.graph_model(
        [node("Add", ["X", "bias"], ["Y"])],
        inputs=[build.value("X", shape=[None, 2000])],
        outputs=[build.value("Y", shape=[None, 2000])],
        initializers=[build.constant("bias", np.ones(2000), np.float32)],
    )
    onnx.save(model, folder / "external.onnx", save_as_external_data=True, location="weights.bin")
    return onnx.load(folder / "external.onnx", load_external_data=False)


def test_external_data_that_was_not_uploaded_is_refused(tmp_path: Path) -> None:
    message = refusal(with_external_data(tmp_path), tmp_path)
    assert "'bias' is stored in the file 'weights.bin' (external data), which was not uploaded" in message


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "weights/../../../etc/passwd", ""])
def test_external_data_is_never_read_from_a_path(location: str, tmp_path: Path) -> None:
    model = with_external_data(tmp_path)
    model.graph.initializer[0].external_data[0].value = location
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtefactError, match="which was not uploaded"):
        inspect_artefact(
            tmp_path / "model.onnx",
            limits=LIMITS,
            normalised_path=tmp_path / "normalised",
            data_files={"weights.bin": tmp_path / "weights.bin"},
        )


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "1"), ("length", "7999"), ("length", "-1"), ("offset", "-4"), ("offset", "x")]
)
def test_external_data_of_another_export_is_refused(key: str, value: str, tmp_path: Path) -> None:
    model = with_external_data(tmp_path)
    tensor = model.graph.initializer[0]
    kept = {entry.key: entry.value for entry in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, text in kept.items():
        tensor.external_data.add(key=name, value=text)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtefactError, match=r"of the same export|invalid type or position"):
        inspect_artefact(
            tmp_path / "model.onnx",
            limits=LIMITS,
            normalised_path=tmp_path / "normalised",
            data_files={"weights.bin": tmp_path / "weights.bin"},
        )


def test_external_data_in_an_attribute_is_refused(tmp_path: Path) -> None:
    tensor = build.constant("secret", [1.0], np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    model = build.graph_model([node("Constant", [], ["c"], value=tensor), node("Add", ["X", "c"], ["Y"])])
    assert "'secret' is stored in the file '../../etc/passwd'" in refusal(model, tmp_path)


def test_custom_domains_are_refused(tmp_path: Path) -> None:
    model = build.graph_model([node("Gelu", ["X"], ["Y"], domain="my.domain")], domains=["my.domain"])
    assert "custom domain 'my.domain'" in refusal(model, tmp_path)


def test_operators_of_onnx_runtime_are_refused_but_for_cdist(tmp_path: Path) -> None:
    model = build.graph_model([node("Gelu", ["X"], ["Y"], domain="com.microsoft")], domains=["com.microsoft"])
    assert "Operator com.microsoft.Gelu is not supported" in refusal(model, tmp_path)


@pytest.mark.parametrize("operator", ["RandomUniformLike", "NonZero", "RegexFullMatch", "MadeUp"])
def test_unsupported_operators_are_refused(operator: str, tmp_path: Path) -> None:
    message = refusal(build.graph_model([node(operator, ["X"], ["Y"])]), tmp_path)
    assert f"Operator {operator} is not supported" in message


def with_function(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Return a model that calls a function Twice, which maps a to b by these nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = build.graph_model([node("Twice", ["X"], ["Y"], domain="local")], domains=["local"])
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], nodes, opsets))
    return model


def test_functions_are_inlined_and_checked(tmp_path: Path) -> None:
    report = inspect(with_function(node("Add", ["a", "a"], ["b"])), tmp_path, declared=REGRESSION)
    assert report.remarks == ("The functions of the model were inlined.",)
    engine = Engine(tmp_path / "normalised", report.schema, timeout_seconds=5)
    assert engine.predict({"X": np.array([1.0, 4.0])}).labels.tolist() == [2.0, 8.0]
    assert "Operator NonZero is not supported" in refusal(with_function(node("NonZero", ["a"], ["b"])), tmp_path)


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    assert refusal(with_function(node("Twice", ["a"], ["b"], domain="local")), tmp_path)


def test_a_loop_is_refused(tmp_path: Path) -> None:
    assert "Operator Loop can run forever" in refusal(build.loop_model(2**62), tmp_path)


def branching_model(condition: str, **branches: onnx.GraphProto) -> onnx.ModelProto:
    """Return a model whose result is one of two branches; ``yes`` is a constant and ``positive`` depends on X."""
    same = helper.make_graph([node("Identity", ["X"], ["out"])], "branch", [], [build.value("out")])
    nodes = [
        node("ReduceMax", ["X"], ["largest"], keepdims=0),
        node("Greater", ["largest", "zero"], ["positive"]),
        node("If", [condition], ["Y"], then_branch=branches.get("then", same), else_branch=same),
    ]
    constants = [build.constant("yes", True, np.bool_), build.constant("zero", 0.0, np.float32)]
    return build.graph_model(nodes, initializers=constants)


def test_a_branch_by_feature_values_is_refused(tmp_path: Path) -> None:
    assert "chooses a part of the model by feature values" in refusal(branching_model("positive"), tmp_path)


def test_the_body_of_a_branch_is_checked_like_the_graph(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["X"], ["length"], to=TensorProto.INT64),
        node("Reshape", ["length", "flat"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["many"]),
        node("ReduceSum", ["many"], ["out"]),
    ]
    body = helper.make_graph(
        nodes, "body", [], [build.value("out")], initializer=[build.constant("flat", [-1], np.int64)]
    )
    assert "ConstantOfShape's result depends" in refusal(branching_model("yes", then=body), tmp_path)
    loop = helper.make_graph(build.loop_model(2**62).graph.node, "body", [], [build.value("Y")])
    assert "Operator Loop can run forever" in refusal(branching_model("yes", then=loop), tmp_path)


def test_deeply_nested_branches_are_refused(tmp_path: Path) -> None:
    body = helper.make_graph([node("Identity", ["X"], ["out"])], "body", [], [build.value("out")])
    for _ in range(6):
        inner = node("If", ["yes"], ["out"], then_branch=body, else_branch=body)
        body = helper.make_graph([inner], "body", [], [build.value("out")])
    assert "nested more than 4 deep" in refusal(branching_model("yes", then=body), tmp_path)


def scan_model(rows: int) -> onnx.ModelProto:
    """Return a model of a few hundred bytes that scans `rows` rows of zeros one by one."""
    body = helper.make_graph(
        [node("Add", ["sum", "row"], ["more"])], "body", [build.value("sum"), build.value("row")], [build.value("more")]
    )
    nodes = [
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Scan", ["X", "zeros"], ["Y"], body=body, num_scan_inputs=1),
    ]
    return build.graph_model(nodes, initializers=[build.constant("shape", [rows, 1, 1], np.int64)])


@pytest.mark.parametrize("rows", [2**31, 2**26])
def test_a_scan_of_too_many_rows_is_refused(rows: int, tmp_path: Path) -> None:
    message = refusal(scan_model(rows), tmp_path, replace(LIMITS, cpu_seconds=3))
    assert "needs more memory" in message or "CPU time" in message


def test_the_distances_to_a_million_rows_are_refused(tmp_path: Path) -> None:
    nodes = [
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("CDist", ["X", "zeros"], ["distances"], domain="com.microsoft", metric="euclidean"),
        node("ReduceMin", ["distances"], ["Y"], axes=[1]),
    ]
    shape = build.constant("shape", [1_000_000, 1], np.int64)
    message = refusal(build.graph_model(nodes, initializers=[shape], domains=["com.microsoft"]), tmp_path)
    assert "needs more memory" in message


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
