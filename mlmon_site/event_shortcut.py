"""A shortcut for the events of KServe's payload logger, of which thousands may arrive in a second."""

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import reverse

from inference.api.kserve import event_headers, may_send_events
from inference.kserve.events import ReceivedEvent
from inference.services.kserve_events import event_receiver
from mlmon_site.middleware import ACCEPTED_REQUEST_ID

MOST_DIGITS = 9


class EventShortcut:
    """Queues an ordinary event without Django's handler, which takes most of the time of such a request.

    All other requests, and events that are too large or not permitted, go to the application.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._path = reverse("kserve-events")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != self._path or environ["REQUEST_METHOD"] != "POST":
            return self._application(environ, start_response)
        started = time.perf_counter()
        length = environ.get("CONTENT_LENGTH") or ""
        is_length = length.isdigit() and len(length) <= MOST_DIGITS
        if not is_length or int(length) > settings.MLMON_KSERVE_EVENT_BYTES or not self._is_allowed(environ):
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        if len(body) == int(length):  # otherwise the client has gone
            event_receiver().receive(ReceivedEvent(event_headers(environ), body))
        offered = environ.get("HTTP_X_REQUEST_ID", "")
        headers = [
            ("Content-Length", "0"),
            ("X-Request-ID", offered if ACCEPTED_REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex),
            ("X-Process-Time", f"{time.perf_counter() - started:.6f}"),
        ]
        start_response("202 Accepted", headers)
        return []

    def _is_allowed(self, environ: dict[str, Any]) -> bool:
        domain, _ = split_domain_port(environ.get("HTTP_HOST", ""))
        return validate_host(domain, settings.ALLOWED_HOSTS) and may_send_events(environ.get("HTTP_AUTHORIZATION", ""))
