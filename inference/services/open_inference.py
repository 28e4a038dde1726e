"""Infer: predict the tensors of the Open Inference Protocol v2 as `predict` does, and describe what can be inferred."""

from django.conf import settings

from inference.exceptions import (
    LargeBodyError,
    RegistryUnreadError,
    ServedElsewhereError,
    UnreadableBodyError,
    UnsupportedEncodingError,
)
from inference.open_inference.messages import InferMessage
from inference.open_inference.outputs import EncodedResponse, encoded_response, outputs_of
from inference.rejections import RequestErrorCode
from inference.rows import routing_key_of
from inference.services.prediction import count_refused_request, predict
from inference.serving import LoadedVersion, serving
from mlmon.feature_columns import FeatureColumns


def infer(
    *, model_name: str, version: str | None, body: bytes, header_length: str | None = None, encoding: str = ""
) -> EncodedResponse:
    """Return the response to an infer request, which is counted whatever its outcome.

    Parameters
    ----------
    model_name, version
        As for `predict`.
    body, header_length, encoding
        As for `InferMessage.of`.

    Raises
    ------
    UnreadableBodyError, LargeBodyError, UnsupportedEncodingError
        The body cannot be taken apart, or is too large.
    InferenceError, RegistryError, RowValueError
        As for `predict`.
    """
    try:
        message = InferMessage.of(
            body, header_length=header_length, encoding=encoding, most_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        )
    except (UnreadableBodyError, LargeBodyError, UnsupportedEncodingError) as error:
        count_refused_request(model_name=model_name, code=RequestErrorCode.UNREADABLE, reason=str(error))
        raise

    def columns(chosen: LoadedVersion) -> FeatureColumns:
        _ = message.id, message.requested_outputs(tuple(outputs_of(chosen.schema)))  # refused before the model runs
        return message.columns(chosen.schema.features, most_rows=settings.MLMON_MAX_ROWS_PER_REQUEST)

    outcome = predict(
        model_name=model_name,
        version=version,
        routing_key=lambda: routing_key_of(message.parameters),
        columns=columns,
    )
    schema = outcome.version.schema
    names = tuple(outputs_of(schema))
    about = {
        "model_name": outcome.version.model_name,
        "model_version": outcome.version.version,
        **({} if message.id is None else {"id": message.id}),
        # The protocol has no lists as parameters.
        "parameters": {"prediction_ids": ",".join(outcome.prediction_ids)},
    }
    return encoded_response(about, schema, outcome.predictions, message.requested_outputs(names))


def described_version(model_name: str, version: str | None) -> LoadedVersion:
    """Return the requested version, or the version in production with the most traffic that is served here.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError, ServedElsewhereError, NoVersionLoadedError
        As for `predict`.
    """
    snapshot = serving().snapshot()
    if version is None:
        model = snapshot.model(model_name)
        return next((one for one in model.production if one.is_served_here), None) or model.route(None)
    chosen = snapshot.version(model_name, version)
    if not chosen.is_served_here:
        raise ServedElsewhereError(model_name, version)
    return chosen


def described_versions() -> dict[str, list[LoadedVersion]]:
    """Return by model the versions that can be inferred, in the order of their registration; no model without one.

    Raises
    ------
    RegistryUnreadError
        The registry has not been read yet.
    """
    snapshot = serving().snapshot()
    if snapshot.generation < 0:
        raise RegistryUnreadError
    served = {
        name: [version for version in model.versions.values() if version.is_served_here]
        for name, model in snapshot.models.items()
    }
    return {name: versions for name, versions in sorted(served.items()) if versions}
