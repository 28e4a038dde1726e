"""Request bodies of calls that write: only known fields, each once, and uploaded files within limits."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, Any

import orjson
from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request

from rest.problems import shortened


class BodyTooLarge(APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UploadParser(MultiPartParser):
    """Decode a multipart body; refuse one larger than the view's ``largest_upload()`` (bytes) before it is read."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        context = dict(parser_context or {})
        request, limit = context["request"], context["view"].largest_upload()
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        # Fields that are no files have a limit of their own, which Django's parser enforces.
        if length > limit + settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise BodyTooLarge(f"The body has {length:,} bytes; the limit of an upload is {limit / 2**20:,.1f} MiB.")
        return super().parse(stream, media_type, context)


class StrictSerializer(serializers.Serializer[object]):
    """A serializer of a request that refuses unknown fields, and fields of a form that occur more than once."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            reasons = {shortened(str(name)): self._reason(name, data) for name in data}
            if wrong := {name: [reason] for name, reason in reasons.items() if reason}:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)

    def _reason(self, name: str, data: Mapping[str, Any]) -> str:
        """Return why the field `name` is refused, or ""."""
        if name not in self.fields:
            return f"This call has no such field. Its fields are: {', '.join(self.fields)}."
        is_list = isinstance(self.fields[name], serializers.ListField)
        if isinstance(data, QueryDict) and not is_list and (count := len(data.getlist(name))) > 1:
            return f"The field was sent {count} times. Send it once."
        return ""


@extend_schema_field(OpenApiTypes.BINARY)
class UploadField(serializers.FileField):
    """An uploaded file."""


class NamesField(serializers.CharField):
    """A list of strings in a form: separated by commas, or a JSON list if one contains a comma."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            names = orjson.loads(text) if text.startswith("[") else [name.strip() for name in text.split(",")]
        except orjson.JSONDecodeError as error:
            raise serializers.ValidationError(f"The JSON list is not valid: {error}.") from None
        if not all(isinstance(name, str) for name in names):
            raise serializers.ValidationError("Send names separated by commas, or a JSON list of strings.")
        if any("\0" in name for name in names):  # which JSON can hide from the validators of a string
            raise serializers.ValidationError("Null characters are not allowed.")
        return [name for name in names if name]

    def to_representation(self, value: Any) -> Any:
        return value


def validated_body(request: Request, serializer_class: type[serializers.Serializer[object]]) -> dict[str, Any]:
    """Return the validated body.

    Raises
    ------
    ValidationError
        Some fields are invalid; it names each of them.
    UnsupportedMediaType
        The body has another type than the call's.
    """
    serializer = serializer_class(data=request.data)
    if not serializer.is_valid():
        raise ValidationError({_field(name): _reasons(reasons) for name, reasons in serializer.errors.items()})
    return dict(serializer.validated_data)


def _field(name: str) -> str:
    return NON_FIELD_ERRORS if name == "non_field_errors" else name


def _reasons(reasons: Any) -> list[str]:
    """Return the reasons of a field's errors; those of a list's items are nested."""
    if isinstance(reasons, Mapping):
        return [reason for nested in reasons.values() for reason in _reasons(nested)]
    return [str(reason) for reason in reasons]
