"""An async FastAPI server with ONNX Runtime, as a competent user writes it in an hour.

It has pydantic models of requests and responses, metrics in prometheus_client's multiprocess mode (with two processes,
any other mode gives wrong totals) and FastAPI's own example of an X-Process-Time header. It captures nothing.
``RIVAL_MODELS`` is the folder of the ONNX files. With ``RIVAL_IS_LEAN=1``, the middleware is plain ASGI, and a batch
does not observe the confidence of each row.
"""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, HTTPException, Request, Response  # type: ignore[import-not-found]
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel, Field  # type: ignore[import-not-found]

MODELS = Path(os.environ["RIVAL_MODELS"])
IS_LEAN = os.environ.get("RIVAL_IS_LEAN") == "1"
VERSION = "1.0.0"

REQUESTS = Counter("prediction_requests_total", "Requests.", ["model", "status"])
LATENCY = Histogram("prediction_latency_seconds", "Time to predict.", ["model"])
ROWS = Histogram("batch_rows", "Rows of a request.", ["model"], buckets=(1, 5, 10, 25, 50, 100, 250, 500))
CLASSES = Counter("predictions_total", "Predictions by class.", ["model", "predicted_class"])
CONFIDENCE = Histogram(
    "prediction_confidence",
    "Probability of the predicted class.",
    ["model", "predicted_class"],
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
)


class IrisRow(BaseModel):
    """The values of one iris flower, in order."""

    features: Annotated[list[float], Field(min_length=4, max_length=4)]


class Iris(BaseModel):
    """One iris flower."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class NamedIris(BaseModel):
    """The values of one iris flower, by name."""

    features: Iris


class Flight(BaseModel):
    """One flight, with strings and numbers."""

    carrier: str
    origin: str
    dest: str
    scheduled_hour: int
    distance: float
    seats: float | None
    plane_age: float | None
    wind_speed: float | None
    precip: float | None
    visib: float | None


class NamedFlight(BaseModel):
    """The values of one flight, by name."""

    features: Flight


class Rows(BaseModel):
    """Many rows of 20 numbers."""

    rows: list[Annotated[list[float], Field(min_length=20, max_length=20)]]


class Prediction(BaseModel):
    """The prediction of one row."""

    prediction: str
    confidence: float
    latency_ms: float
    model_name: str
    model_version: str


class Predictions(BaseModel):
    """The predictions of many rows."""

    predictions: list[str]
    confidences: list[float]
    latency_ms: float
    model_name: str
    model_version: str


class OnnxModel:
    """An ONNX classifier with its metrics."""

    def __init__(self, name: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # as many processes as cores
        self.name = name
        self.session = ort.InferenceSession(MODELS / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

    def predict(self, feed: dict[str, np.ndarray[Any, Any]]) -> tuple[list[str], list[float], float]:
        """Return the classes, their probabilities and the latency in milliseconds."""
        started = time.perf_counter()
        try:
            labels, probabilities = self.session.run(["label", "probabilities"], feed)
        except Exception as error:
            REQUESTS.labels(self.name, "error").inc()
            raise HTTPException(500, "The model failed.") from error
        classes, confidences = labels.tolist(), probabilities.max(axis=1).tolist()
        seconds = time.perf_counter() - started
        REQUESTS.labels(self.name, "success").inc()
        LATENCY.labels(self.name).observe(seconds)
        ROWS.labels(self.name).observe(len(classes))
        for name, count in zip(*np.unique(labels, return_counts=True), strict=True) if len(classes) > 1 else ():
            CLASSES.labels(self.name, name).inc(int(count))
        if len(classes) == 1:
            CLASSES.labels(self.name, classes[0]).inc()
        if len(classes) == 1 or not IS_LEAN:
            children = {name: CONFIDENCE.labels(self.name, name) for name in set(classes)}
            for name, confidence in zip(classes, confidences, strict=True):
                children[name].observe(confidence)
        return classes, confidences, 1000 * seconds

    def prediction(self, feed: dict[str, np.ndarray[Any, Any]]) -> Prediction:
        """Return the prediction of the only row."""
        (name,), (confidence,), latency_ms = self.predict(feed)
        return Prediction(
            prediction=name,
            confidence=confidence,
            latency_ms=latency_ms,
            model_name=self.name,
            model_version=VERSION,
        )


class ProcessTime:
    """Adds X-Process-Time to each response; plain ASGI."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        started = time.perf_counter()

        async def send_with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-process-time", str(time.perf_counter() - started).encode()))
            await send(message)

        await self.app(scope, receive, send_with_header)


classifier, flights, batch = OnnxModel("classifier"), OnnxModel("flight-delay"), OnnxModel("batch")
app = FastAPI()

if IS_LEAN:
    app.add_middleware(ProcessTime)
else:

    @app.middleware("http")
    async def add_process_time(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Add X-Process-Time, as FastAPI's documentation does."""
        started = time.perf_counter()
        response = await call_next(request)
        response.headers["X-Process-Time"] = str(time.perf_counter() - started)
        return response


@app.post("/predict")
async def predict(body: IrisRow) -> Prediction:
    """Predict the species of one flower."""
    return classifier.prediction({"features": np.array([body.features], np.float32)})


@app.post("/predict-named")
async def predict_named(body: NamedIris) -> Prediction:
    """Predict the species of one flower."""
    row = body.features
    values = [row.sepal_length, row.sepal_width, row.petal_length, row.petal_width]
    return classifier.prediction({"features": np.array([values], np.float32)})


@app.post("/predict-flight")
async def predict_flight(body: NamedFlight) -> Prediction:
    """Predict whether a flight will be late."""
    feed: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in body.features:
        if isinstance(value, str):
            feed[name] = np.array([[value]], object)
        elif name == "scheduled_hour":
            feed[name] = np.array([[value]], np.int64)
        else:
            feed[name] = np.array([[np.nan if value is None else value]], np.float32)
    return flights.prediction(feed)


@app.post("/predict-batch")
async def predict_batch(body: Rows) -> Predictions:
    """Predict many rows."""
    classes, confidences, latency_ms = batch.predict({"features": np.array(body.rows, np.float32)})
    return Predictions(
        predictions=classes,
        confidences=confidences,
        latency_ms=latency_ms,
        model_name=batch.name,
        model_version=VERSION,
    )


@app.get("/metrics")
async def metrics() -> Response:
    """Return the metrics of both processes."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
