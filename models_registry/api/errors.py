"""HTTP statuses of the registry's errors."""

from http import HTTPStatus

from mlmon.exceptions import LabelError, ReferenceFileError
from models_registry.exceptions import (
    ArtefactError,
    ConflictError,
    PredictionFailedError,
    PredictionTimeoutError,
    UnknownModelError,
    UnknownVersionError,
)
from rest.problems import register_errors

register_errors(
    {
        UnknownModelError: HTTPStatus.NOT_FOUND,
        UnknownVersionError: HTTPStatus.NOT_FOUND,
        ConflictError: HTTPStatus.CONFLICT,
        ArtefactError: HTTPStatus.UNPROCESSABLE_ENTITY,
        ReferenceFileError: HTTPStatus.UNPROCESSABLE_ENTITY,
        LabelError: HTTPStatus.UNPROCESSABLE_ENTITY,
        PredictionTimeoutError: HTTPStatus.SERVICE_UNAVAILABLE,
        PredictionFailedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
