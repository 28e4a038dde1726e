"""The middleware: request ids, durations, unread bodies."""

import io
import re

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from mlmon_site.middleware import RequestIdentityMiddleware, UnreadBodyMiddleware

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


def _sending(body: io.BytesIO, length: str) -> HttpRequest:
    environ = RequestFactory().get("/").environ
    return WSGIRequest(environ | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": body})


def test_the_rest_of_a_rejected_body_is_read() -> None:
    sent = io.BytesIO(b"x" * 100_000)
    request = _sending(sent, "100000")
    UnreadBodyMiddleware(lambda _: HttpResponse(status=404))(request)
    assert sent.tell() == 100_000


def test_a_body_over_the_limit_is_left_unread() -> None:
    sent = io.BytesIO(b"x" * 100)
    request = _sending(sent, str(2**20 + 1))
    UnreadBodyMiddleware(lambda _: HttpResponse(status=413))(request)
    assert sent.tell() == 0


@pytest.mark.parametrize("length", ["", "many", "-1"])
def test_an_invalid_content_length_is_ignored(length: str) -> None:
    request = _sending(io.BytesIO(b"body"), length)
    assert UnreadBodyMiddleware(lambda _: HttpResponse(status=400))(request).status_code == 400


def test_a_body_that_the_view_has_read_is_not_read_again() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.body)

    request = RequestFactory().post("/", b"body", content_type="text/plain")
    response = UnreadBodyMiddleware(view)(request)
    assert isinstance(response, HttpResponse)
    assert response.content == request.body == b"body"
