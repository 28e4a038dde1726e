"""A response as plain data, which any server interface can send."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlainResponse:
    """A response.

    Attributes
    ----------
    headers
        Names in lower case.
    body
        Empty if `file` is set.
    file
        Path of a file that is the body.
    is_from_django
        Whether Django's middleware has set its headers: the request's id and the time that it took.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    file: str | None = None
    is_from_django: bool = False
