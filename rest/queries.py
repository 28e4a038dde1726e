"""Checking the parameters of an address."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.serializers import Serializer


def validated_query(request: Request, serializer_class: type[Serializer[object]]) -> dict[str, Any]:
    """Return the checked parameters; ParseError naming the first that is refused."""
    serializer = serializer_class(data=request.query_params.dict())
    if not serializer.is_valid():
        name, reasons = next(iter(serializer.errors.items()))
        raise ParseError(f"Query parameter {name!r}: {reasons[0]}")
    return dict(serializer.validated_data)
