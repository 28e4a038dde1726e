"""The RSGI application of a web process: granian calls it on the event loop for each request.

It reads the body there, predicts ordinary requests of quick models there, and calls Django in a thread for all others.
"""

import asyncio
import gc
import logging
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import IO, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

from django.conf import settings
from granian._granian import RSGIProtocolClosed, RSGIProtocolError

from mlmon_site import wsgi  # sets up Django, which the imports below need
from mlmon_site.client_addresses import client_address
from mlmon_site.django_calls import call_django
from mlmon_site.model_queues import ModelBusyError, ModelQueue
from mlmon_site.request_bodies import BodyError, BodyLimits

# isort: split
from inference.api.direct import Target, is_ordinary, predict_response, target_of
from inference.api.kserve import EVENTS_PATH, count_too_large, receive_directly
from inference.rejections import RequestErrorCode
from inference.services.prediction import count_busy_request, count_refused_request
from inference.serving import serving
from mlmon_site.error_pages import problem_for_program
from mlmon_site.middleware import accepted_request_id
from rest.plain_responses import PlainResponse
from rest.problems import RETRY_AFTER_SECONDS, SERVER_ERROR, Problem

logger = logging.getLogger(__name__)

DJANGO_THREADS = 4
# Requests wait for the next flush in their hundreds, and each collection visits all of them.
COLLECTION_THRESHOLDS = (20_000, 20, 20)
MODEL_THREADS = 64  # of all models together; they start when they are needed
# From the last response that kept its connection open to a stop: the client may be sending its next request.
DRAIN_SECONDS = 2.0


class Application:
    """Serves the requests of one web process."""

    def __init__(self) -> None:
        self._django_threads = ThreadPoolExecutor(DJANGO_THREADS, thread_name_prefix="mlmon-django")
        self._model_threads = ThreadPoolExecutor(MODEL_THREADS, thread_name_prefix="mlmon-model")
        self._queues: dict[str, ModelQueue] = {}
        self._limits = BodyLimits(
            most_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            most_upload_bytes=settings.MLMON_MAX_ARTEFACT_BYTES
            + settings.MLMON_MAX_REFERENCE_BYTES
            + settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            seconds=settings.MLMON_BODY_TIMEOUT_SECONDS,
            bytes_per_second=settings.MLMON_BODY_MIN_BYTES_PER_SECOND,
        )
        self._most_of_address = settings.MLMON_MAX_REQUESTS_PER_ADDRESS
        self._requests_of_address: Counter[str] = Counter()
        self._is_draining = False
        self._last_kept_at = 0.0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drain before granian stops: it ends idle connections at once, also those that carry the next request."""
        gc.collect()
        gc.freeze()  # what is loaded now stays until the process ends
        gc.set_threshold(*COLLECTION_THRESHOLDS)

        def drain() -> None:
            self._is_draining = True
            pause = max(0.0, self._last_kept_at + DRAIN_SECONDS - time.monotonic())
            loop.call_later(pause, os.kill, os.getpid(), signal.SIGINT)  # which granian handles

        loop.add_signal_handler(signal.SIGTERM, drain)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the threads; granian has waited for the requests."""
        self._django_threads.shutdown()
        self._model_threads.shutdown()

    async def __rsgi__(self, scope: Any, transport: Any) -> None:
        """Respond to one request."""
        begun = time.perf_counter()
        try:
            if self._most_of_address:
                response = await self._respond_within_limit(scope, transport)
            else:
                response = await self._respond(scope, transport)
        except (RSGIProtocolClosed, RSGIProtocolError):
            return  # the client has gone
        except Exception:
            logger.exception("A request failed.")
            response = _problem_response(scope, SERVER_ERROR)
        headers = [*response.headers]
        if not response.is_from_django:
            headers.append(("x-request-id", accepted_request_id(scope.headers.get("x-request-id", ""))))
            headers.append(("x-process-time", f"{time.perf_counter() - begun:.6f}"))
        if self._is_draining:
            headers.append(("connection", "close"))
        else:
            self._last_kept_at = time.monotonic()
        if response.file:
            transport.response_file(response.status, headers, response.file)
        else:
            transport.response_bytes(response.status, headers, response.body)

    async def _respond_within_limit(self, scope: Any, transport: Any) -> PlainResponse:
        peer = scope.client.rpartition(":")[0].strip("[]")
        address = client_address(peer, scope.headers.get("x-forwarded-for"), settings.MLMON_TRUSTED_PROXIES)
        if self._requests_of_address[address] >= self._most_of_address:
            detail = f"{address} has {self._most_of_address} open requests already. Wait for a response."
            problem = Problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
            return _problem_response(scope, problem, ("retry-after", str(RETRY_AFTER_SECONDS)))
        self._requests_of_address[address] += 1
        try:
            return await self._respond(scope, transport)
        finally:
            self._requests_of_address[address] -= 1
            if not self._requests_of_address[address]:
                del self._requests_of_address[address]

    async def _respond(self, scope: Any, transport: Any) -> PlainResponse:
        target = target_of(scope.path) if scope.method == "POST" else None
        is_event = scope.path == EVENTS_PATH and scope.method == "POST"
        try:
            body = await self._limits.read(scope.headers, transport)
        except BodyError as error:
            if target is not None:
                code, reason = RequestErrorCode.UNREADABLE, error.problem.detail
                count_refused_request(model_name=target.model_name, code=code, reason=reason)
            if is_event and error.problem.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                count_too_large()  # which gets 202 as well: KServe's logger would only report an error
                return PlainResponse(HTTPStatus.ACCEPTED, (("connection", "close"),))
            return _problem_response(scope, error.problem, ("connection", "close"))
        length = body.seek(0, os.SEEK_END)
        body.seek(0)
        if is_event and receive_directly(dict(scope.headers.items()), body, length):
            return PlainResponse(HTTPStatus.ACCEPTED, ())
        if target is not None and (queue := self._queue_of(target)) is not None:
            return await self._predict(target, queue, scope, body, length)
        call = partial(call_django, wsgi.application, scope, body, length)
        return await asyncio.get_running_loop().run_in_executor(self._django_threads, call)

    def _queue_of(self, target: Target) -> ModelQueue | None:
        """Return the queue of a model that exists, with the version that is asked for."""
        model = serving().snapshot().models.get(target.model_name)
        if model is None or (target.version is not None and target.version not in model.versions):
            return None
        if model.name not in self._queues:
            self._queues[model.name] = ModelQueue(
                self._model_threads,
                most_runs=settings.MLMON_MODEL_RUNS,
                most_waiting=settings.MLMON_MODEL_QUEUE,
                longest_wait_seconds=settings.MLMON_PREDICTION_TIMEOUT_MS / 1000,
            )
        return self._queues[model.name]

    async def _predict(
        self, target: Target, queue: ModelQueue, scope: Any, body: IO[bytes], length: int
    ) -> PlainResponse:
        is_direct = not target.is_infer and is_ordinary(scope.headers, scope.query_string)
        content = body.read() if is_direct else b""
        if is_direct and queue.is_quick(target.version, length):
            response = queue.run_quick(target.version, length, partial(predict_response, target, content))
            if response is not None:
                return response
            is_direct = False

        def run() -> PlainResponse:
            response = predict_response(target, content) if is_direct else None
            if response is None:
                body.seek(0)
                response = call_django(wsgi.application, scope, body, length)
            return response

        try:
            return await queue.run_in_thread(target.version, length, run)
        except ModelBusyError:
            count_busy_request(model_name=target.model_name)
            detail = f"Model {target.model_name!r} has as many requests as it can take. Try again later."
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
            return _problem_response(scope, problem, ("retry-after", str(RETRY_AFTER_SECONDS)))


def _problem_response(scope: Any, problem: Problem, *headers: tuple[str, str]) -> PlainResponse:
    response = problem_for_program(scope.path, problem)
    content_type = ("content-type", response["Content-Type"])
    return PlainResponse(response.status_code, (content_type, *headers), response.content)


application = Application()
