"""JSON bodies, query parameters and pages."""

import json
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import RequestDataTooBig
from django.test import RequestFactory
from pytest_django.fixtures import Settings
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from rest.codec import BoundedPagination, OrjsonParser, OrjsonRenderer, validated_query


class QuerySerializer(serializers.Serializer[object]):
    limit = serializers.IntegerField(min_value=1, default=10)


def query(**parameters: Any) -> Request:
    return Request(RequestFactory().get("/", parameters))


def post(body: bytes) -> Any:
    return RequestFactory().post("/", body, content_type="application/json")


def test_what_json_lacks_is_rendered_as_null() -> None:
    body = OrjsonRenderer().render({1: float("nan"), "b": np.array([1.5, np.inf])})
    assert json.loads(body) == {"1": None, "b": [1.5, None]}
    assert OrjsonRenderer().render(None) == b""


def test_a_body_is_parsed_up_to_the_limit(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert OrjsonParser().parse(post(b"[1]")) == [1]
    with pytest.raises(RequestDataTooBig):
        OrjsonParser().parse(post(b"[1, 2, 3, 4]"))


def test_an_invalid_body_is_refused_with_the_position() -> None:
    with pytest.raises(ParseError, match=r"The body is not valid JSON: .* column 7"):
        OrjsonParser().parse(post(b'{"a": '))


def test_an_invalid_query_parameter_is_named() -> None:
    assert validated_query(query(), QuerySerializer) == {"limit": 10}
    assert validated_query(query(limit="3"), QuerySerializer) == {"limit": 3}
    with pytest.raises(ParseError, match=r"Query parameter 'limit': A valid integer is required\."):
        validated_query(query(limit="three"), QuerySerializer)


def test_a_page_has_an_upper_bound() -> None:
    assert BoundedPagination().get_limit(query(limit="9" * 30)) == 1000
