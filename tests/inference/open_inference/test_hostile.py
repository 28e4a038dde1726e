"""Random and mutated requests: a client error or a prediction, never a server error."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import uploaded_version

pytestmark = pytest.mark.django_db

INFER = "/v2/models/classifier/infer"
VALUES = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)
REQUEST: dict[str, Any] = {
    "id": "1",
    "parameters": {"binary_data_output": True, "routing_key": "a"},
    "inputs": [
        {"name": "X", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32}},
    ],
    "outputs": [{"name": "prediction", "parameters": {"binary_data": False}}],
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["X", "sepal_length", "FP32", "BYTES", "BOOL", "INT8", "prediction", "\0", "é" * 3000])
)
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def send(client: Client) -> Callable[..., int]:
    """Send a request and return its status; an error must have the form of the protocol."""
    uploaded_version("classifier")

    def status_of(body: bytes, length: str | None = None, **headers: str) -> int:
        if length is not None:
            headers["Inference-Header-Content-Length"] = length
        response = client.generic("POST", INFER, body, content_type="", headers=headers)
        if response.status_code != 200:
            (message,) = json.loads(response.content).values()
            assert isinstance(message, str)
            assert len(message) < 4000
        return response.status_code

    return status_of


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a JSON document."""
    found = [path] if path else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += places(member, (*path, key))
    return found


def changed(path: tuple[Any, ...], value: Any) -> bytes:
    document = copy.deepcopy(REQUEST)
    target: Any = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return json.dumps(document).encode()


def test_the_request_that_is_mutated_is_valid(send: Callable[..., int]) -> None:
    header = json.dumps(REQUEST).encode()
    assert send(header + VALUES.tobytes(), str(len(header))) == 200


@MANY
@given(path=st.sampled_from(places(REQUEST)), value=JSON_VALUES)
def test_a_changed_member_is_no_server_error(send: Callable[..., int], path: tuple[Any, ...], value: Any) -> None:
    header = changed(path, value)
    assert send(header + VALUES.tobytes(), str(len(header))) in (200, 400, 422)


@MANY
@given(data=st.lists(JSON_VALUES, max_size=8), datatype=st.sampled_from(["FP32", "INT8", "UINT64", "BOOL", "BYTES"]))
def test_any_json_data_are_no_server_error(send: Callable[..., int], data: list[Any], datatype: str) -> None:
    for shape in ([1, 4], [2, 4], [len(data)]):
        tensor = {"name": "X", "datatype": datatype, "shape": shape, "data": data}
        assert send(json.dumps({"inputs": [tensor]}).encode()) in (200, 400, 422)


@MANY
@given(
    data=st.binary(max_size=64),
    datatype=st.sampled_from(["FP16", "FP32", "FP64", "INT8", "UINT64", "BOOL", "BYTES"]),
    rows=st.integers(0, 3),
)
def test_any_binary_data_are_no_server_error(send: Callable[..., int], data: bytes, datatype: str, rows: int) -> None:
    tensor = {"name": "X", "datatype": datatype, "shape": [rows, 4], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    assert send(header + data, str(len(header))) in (200, 422)


@MANY
@given(
    start=st.integers(0, 300),
    length=st.integers(0, 40),
    inserted=st.binary(max_size=20),
    header_length=st.none() | st.text(max_size=6) | st.integers(-5, 400).map(str),
    encoding=st.sampled_from(["", "", "gzip", "deflate", "identity", "br"]),
)
def test_changed_bytes_are_no_server_error(
    send: Callable[..., int], start: int, length: int, inserted: bytes, header_length: str | None, encoding: str
) -> None:
    header = json.dumps(REQUEST).encode()
    whole = header + VALUES.tobytes()
    body = whole[:start] + inserted + whole[start + length :]
    if header_length is None:
        header_length = str(len(header) + len(inserted) - length)
    more = {"Content-Encoding": encoding} if encoding else {}
    assert send(body, header_length, **more) in (200, 400, 413, 415, 422)


def described(data: Any, **members: Any) -> bytes:
    return json.dumps(
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 4], "data": data, **members}]}
    ).encode()


LARGE = {
    "brackets": b"[" * 500_000,
    "deep": b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}",
    "nested data": described([[[[1, 2, 3, 4]]]]),
    "a long name": described([], name="X" * 10**6),
    "long strings": described(["x" * 10**6] * 4, datatype="BYTES"),
    "few data for many rows": described([1], shape=[10**4, 4]),
    "many inputs": json.dumps({"inputs": [{}] * 100_000}).encode(),
    "many outputs": json.dumps({"outputs": [{"name": str(number)} for number in range(10**5)]}).encode(),
}


@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
def test_large_and_deep_requests_are_refused(send: Callable[..., int], body: bytes) -> None:
    assert send(body) in (400, 422)
