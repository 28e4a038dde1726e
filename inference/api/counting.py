"""The views whose requests count as requests for a prediction."""

from django.conf import settings
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.api.authentication import BearerTokenAuthentication
from inference.rejections import RequestErrorCode
from inference.services.prediction import count_refused_request


class CountedView(APIView):
    """A view that predicts; a request that is refused before the service is called counts as rejected."""

    authentication_classes = [BearerTokenAuthentication]
    required_scope = TokenScope.PREDICT
    is_counted = False  # from the call of the service on, which counts the request, whatever its outcome

    def handle_exception(self, exc: Exception) -> Response:
        if not self.is_counted and self.request.method == "POST":
            is_forbidden = isinstance(exc, NotAuthenticated | AuthenticationFailed | PermissionDenied)
            count_refused_request(
                model_name=self.kwargs.get("model_name") or settings.MLMON_DEFAULT_MODEL,
                code=RequestErrorCode.NOT_PERMITTED if is_forbidden else RequestErrorCode.UNREADABLE,
                reason=str(exc),
            )
        return super().handle_exception(exc)
