"""Ordinary predict requests, without Django's request, its middleware and REST framework.

These cost several times as much as a prediction of one row. A request is ordinary if nothing but its body can make it
fail: JSON, a Host that is allowed, no cookie, and a valid token or open access. Every other one takes the usual way,
through `inference.api.views.PredictView`. Both ways give the same status, headers and body.
"""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from accounts.models import TokenScope
from inference.api.authentication import has_scope
from inference.plain_batches import FEWEST_BYTES, plain_batch
from inference.services.prediction import predict_batch, predict_payload
from rest.codec import json_bytes
from rest.plain_responses import PlainResponse
from rest.problems import SERVER_ERROR, problem_response

logger = logging.getLogger(__name__)

_PREDICT = re.compile(r"/(?:api/v1/models/([^/%]+)(?:/versions/([^/%]+))?/)?predict")
_INFER = re.compile(r"/v2/models/([^/%]+)(?:/versions/([^/%]+))?/infer")
_JSON = "application/json"
_ACCEPTED = frozenset({_JSON, "*/*"})
_OF_PREDICT_VIEW = (("allow", "POST, OPTIONS"),)


class RequestHeaders(Protocol):
    """The headers of a request by lower-case name."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a header, or `default`."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks to predict: a model, and a version unless the traffic policy is to choose one.

    Attributes
    ----------
    is_infer
        Whether the request follows the Open Inference Protocol. It always takes the usual way.
    """

    model_name: str
    version: str | None
    is_infer: bool = False


def target_of(path: str) -> Target | None:
    """Return what a path asks to predict, or None if it is the path of another call."""
    if match := _PREDICT.fullmatch(path):
        return Target(match[1] or settings.MLMON_DEFAULT_MODEL, match[2])
    match = _INFER.fullmatch(path)
    return Target(match[1], match[2], is_infer=True) if match else None


def is_ordinary(headers: RequestHeaders, query_string: str) -> bool:
    """Return whether nothing but the body can make a POST request to a target fail."""
    return (
        not query_string
        and headers.get("content-type", "").partition(";")[0].strip().lower() == _JSON
        and not _ACCEPTED.isdisjoint(map(str.strip, headers.get("accept", _JSON).split(",")))
        and headers.get("cookie") is None
        and (not settings.SECURE_SSL_REDIRECT or headers.get("x-forwarded-proto") == "https")
        and is_allowed_host(headers.get("host", ""))
        and has_scope(headers.get("authorization", ""), TokenScope.PREDICT)
    )


def predict_response(target: Target, body: bytes) -> PlainResponse | None:
    """Return the response to an ordinary request; None if its body is not JSON."""
    batch = plain_batch(body) if len(body) >= FEWEST_BYTES else None
    decoded: Any = None
    if batch is None:
        try:
            decoded = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
    try:
        if batch is None:
            outcome = predict_payload(model_name=target.model_name, version=target.version, payload=decoded)
        else:
            decode = partial(orjson.loads, body)
            outcome = predict_batch(model_name=target.model_name, version=target.version, batch=batch, payload=decode)
        content = json_bytes(outcome.body(is_batch=batch is not None or "rows" in decoded))
        return PlainResponse(200, _headers(_JSON), content)
    except Exception as error:  # the service has counted it, so it must not take the usual way as well
        response = problem_response(error, {})
        if response is None:
            logger.exception("A predict request failed.")
            response = SERVER_ERROR.response()
        others = tuple((name.lower(), value) for name, value in response.items() if name != "Content-Type")
        return PlainResponse(response.status_code, _headers(response["Content-Type"]) + others, response.content)


@lru_cache(maxsize=1000)
def is_allowed_host(host: str) -> bool:
    """Return whether ALLOWED_HOSTS allows a Host header."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=10)
def _headers(content_type: str) -> tuple[tuple[str, str], ...]:
    """Return the headers that the view and Django's middleware set."""
    request, response = HttpRequest(), HttpResponse(content_type=content_type)
    if settings.SECURE_SSL_REDIRECT:
        request.META["HTTP_X_FORWARDED_PROTO"] = "https"
    for middleware in (SecurityMiddleware, XFrameOptionsMiddleware):
        response = middleware(lambda _: HttpResponse()).process_response(request, response)
    return (*((name.lower(), value) for name, value in response.items()), *_OF_PREDICT_VIEW)
