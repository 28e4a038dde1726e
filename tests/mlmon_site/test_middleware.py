"""The middleware: request ids and durations."""

import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from mlmon_site.middleware import RequestIdentityMiddleware

NEW_IDENTITY = re.compile(r"[0-9a-f]{32}")


def _answered(**headers: str) -> HttpResponse:
    def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    response = RequestIdentityMiddleware(view)(RequestFactory().get("/", headers=headers))
    assert isinstance(response, HttpResponse)
    return response


def test_a_request_without_an_id_gets_one() -> None:
    first, second = _answered()["X-Request-ID"], _answered()["X-Request-ID"]
    assert NEW_IDENTITY.fullmatch(first)
    assert first != second


def test_the_clients_id_is_kept() -> None:
    assert _answered(x_request_id="order-17.a_B")["X-Request-ID"] == "order-17.a_B"


@pytest.mark.parametrize("offered", ["", "a b", "a" * 129, "x\r\nSet-Cookie: a=b", "ü"])
def test_a_malformed_id_is_replaced(offered: str) -> None:
    assert NEW_IDENTITY.fullmatch(_answered(x_request_id=offered)["X-Request-ID"])


def test_the_duration_is_in_seconds() -> None:
    assert 0 <= float(_answered()["X-Process-Time"]) < 1
