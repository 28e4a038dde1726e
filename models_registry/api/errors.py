"""HTTP statuses of the registry's errors, and the members of their problem details."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from mlmon.exceptions import LabelError, ReferenceFileError
from models_registry.exceptions import (
    ArtefactError,
    CheckFileError,
    ConflictError,
    ContradictionError,
    LargeArtefactError,
    LargeReferenceError,
    PredictionColumnError,
    PredictionFailedError,
    PredictionTimeoutError,
    SchemaError,
    UndeclaredOutputError,
    UnknownJobError,
    UnknownModelError,
    UnknownVersionError,
)
from rest.problems import register_errors, shortened


def _of_places(error: ContradictionError | SchemaError) -> dict[str, Any]:
    return {"errors": [{"field": name, "reason": shortened(reason)} for name, reason in error.reasons.items()]}


def _of_file(field: str) -> Callable[[Exception], dict[str, Any]]:
    """Return the function for errors of the file that is sent as `field`."""
    return lambda error: {"errors": [{"field": field, "reason": shortened(str(error))}]}


register_errors(
    {
        UnknownModelError: HTTPStatus.NOT_FOUND,
        UnknownVersionError: HTTPStatus.NOT_FOUND,
        UnknownJobError: HTTPStatus.NOT_FOUND,
        ConflictError: HTTPStatus.CONFLICT,
        ArtefactError: HTTPStatus.UNPROCESSABLE_ENTITY,
        SchemaError: HTTPStatus.UNPROCESSABLE_ENTITY,
        LargeArtefactError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ReferenceFileError: HTTPStatus.UNPROCESSABLE_ENTITY,
        LargeReferenceError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        LabelError: HTTPStatus.UNPROCESSABLE_ENTITY,
        PredictionTimeoutError: HTTPStatus.SERVICE_UNAVAILABLE,
        PredictionFailedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    },
    members={
        ContradictionError: _of_places,
        SchemaError: _of_places,
        ArtefactError: _of_file("artefact"),
        ReferenceFileError: _of_file("file"),
        CheckFileError: _of_file("check"),
        PredictionColumnError: _of_file("prediction_column"),
        UndeclaredOutputError: _of_file("task"),
    },
)
