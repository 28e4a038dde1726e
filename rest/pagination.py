"""Pages of the calls that list."""

from rest_framework.pagination import LimitOffsetPagination


class BoundedPagination(LimitOffsetPagination):
    """``?limit=`` and ``?offset=``; a limit without a bound of ours would go into the SQL, whose integers have one."""

    max_limit = 1000
