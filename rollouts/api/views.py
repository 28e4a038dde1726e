"""The calls of rollouts: plan, read, start, pause, resume, roll back, promote, cancel."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor, caller
from accounts.models import TokenScope
from models_registry.selectors import model_named
from rest.bodies import validated_body
from rest.problems import problem_responses
from rollouts.api import examples
from rollouts.api.serializers import NothingSerializer, PlanSerializer, ReasonSerializer, RolloutSerializer
from rollouts.models import Rollout
from rollouts.plan import plan_of
from rollouts.selectors import judgements_of, rollout_of, rollouts
from rollouts.services import lifecycle

READ_PROBLEMS = (401, 403, 404, 406, 503)
WRITE_PROBLEMS = (400, 401, 403, 404, 406, 409, 413, 415, 422, 503)


def rollout_body(rollout: Rollout) -> Any:
    """Return one rollout with its evidence."""
    return RolloutSerializer(rollout, context={"judgements": judgements_of([rollout])}).data


class RolloutListView(ListAPIView[Rollout]):
    """Lists the rollouts of a model, and plans one."""

    required_scope = TokenScope.ROLLOUTS
    serializer_class = RolloutSerializer
    queryset = rollouts()

    @extend_schema(
        operation_id="api_v1_models_rollouts_list",
        tags=["Rollouts"],
        summary="List the rollouts of a model",
        description="Lists the rollouts of a model, the latest first, each with the evidence of its guardrails.",
        responses={200: RolloutSerializer(many=True), **problem_responses(*READ_PROBLEMS)},
        examples=[examples.RUNNING],
    )
    def get(self, request: Request, model_name: str) -> Response:
        page = self.paginate_queryset(rollouts().filter(model=model_named(model_name))) or []
        shown = RolloutSerializer(page, many=True, context={"judgements": judgements_of(page)})
        return self.get_paginated_response(shown.data)

    @extend_schema(
        tags=["Rollouts"],
        summary="Plan a rollout",
        description="Stores a draft (201), which changes nothing until it is started. The champion is the model's "
        "primary version. Without `steps`, a canary takes 5, 10, 25 and 50 % of the traffic; without `guardrails`, "
        "its errors are watched. A shadow has one step with share 1 and a guardrail that needs labels.",
        request=PlanSerializer,
        responses={201: RolloutSerializer, **problem_responses(*WRITE_PROBLEMS)},
        examples=[examples.PLAN, examples.DRAFT],
    )
    def post(self, request: Request, model_name: str) -> Response:
        model, plan = model_named(model_name), plan_of(request.data)
        rollout = lifecycle.plan_rollout(model=model, plan=plan, user=caller(request.user))
        return Response(rollout_body(rollout), HTTPStatus.CREATED)


class RolloutView(APIView):
    """Shows one rollout."""

    required_scope = TokenScope.ROLLOUTS

    @extend_schema(
        operation_id="api_v1_models_rollouts_retrieve",
        tags=["Rollouts"],
        summary="Show one rollout",
        description="Shows its state, what it waits for, and for each guardrail the counts and the evidence that the "
        "challenger is worse; at `log10_limit` it is rolled back.",
        responses={200: RolloutSerializer, **problem_responses(*READ_PROBLEMS)},
        examples=[examples.RUNNING, examples.ENDED],
    )
    def get(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return Response(rollout_body(rollout_of(model_named(model_name), rollout_id)))


class RolloutActionView(APIView):
    """Does something with a rollout; each action is a subclass."""

    required_scope = TokenScope.ROLLOUTS

    def respond(
        self,
        request: Request,
        names: tuple[str, int],
        act: Callable[..., Rollout],
        body: type[NothingSerializer] | type[ReasonSerializer] = NothingSerializer,
    ) -> Response:
        """Return the rollout after an action that takes the members of the body."""
        rollout = rollout_of(model_named(names[0]), names[1])
        actor: Actor = caller(request.user)
        act(rollout=rollout, user=actor, **validated_body(request, body))
        return Response(rollout_body(rollout_of(rollout.model, rollout.pk)))


RESPONSES: dict[Any, Any] = {200: RolloutSerializer, **problem_responses(*WRITE_PROBLEMS)}


class StartView(RolloutActionView):
    """Starts a draft."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Start a rollout",
        description="Starts a draft. Within about ten seconds, the controller loads the challenger and gives it the "
        "share of the first step. A model has one active rollout (409).",
        request=NothingSerializer,
        responses=RESPONSES,
        examples=[examples.NOTHING, examples.RUNNING],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.start_rollout)


class PauseView(RolloutActionView):
    """Pauses a rollout."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Pause a rollout",
        description="The challenger keeps its share, and its guardrails can still roll it back, but it does not "
        "advance.",
        request=ReasonSerializer,
        responses=RESPONSES,
        examples=[examples.REASON, examples.RUNNING],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.pause_rollout, ReasonSerializer)


class ResumeView(RolloutActionView):
    """Resumes a rollout."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Resume a rollout",
        description="Continues a paused rollout. Shares that were changed by hand meanwhile are set again.",
        request=NothingSerializer,
        responses=RESPONSES,
        examples=[examples.NOTHING, examples.RUNNING],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.resume_rollout)


class RollbackView(RolloutActionView):
    """Rolls a challenger back."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Roll a rollout back",
        description="The champion gets all requests again, within about a second. Unlike a rollback by a guardrail, "
        "this opens no incident.",
        request=ReasonSerializer,
        responses=RESPONSES,
        examples=[examples.REASON, examples.ENDED],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.roll_back_rollout, ReasonSerializer)


class PromoteView(RolloutActionView):
    """Promotes a challenger."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Promote the challenger of a rollout",
        description="The challenger gets all requests, after the last step or before it, which ends the rollout.",
        request=NothingSerializer,
        responses=RESPONSES,
        examples=[examples.NOTHING, examples.ENDED],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.promote_rollout)


class CancelView(RolloutActionView):
    """Cancels a rollout."""

    @extend_schema(
        tags=["Rollouts"],
        summary="Cancel a rollout",
        description="Ends a draft, or an active rollout: then the champion gets all requests again.",
        request=ReasonSerializer,
        responses=RESPONSES,
        examples=[examples.REASON, examples.ENDED],
    )
    def post(self, request: Request, model_name: str, rollout_id: int) -> Response:
        return self.respond(request, (model_name, rollout_id), lifecycle.cancel_rollout, ReasonSerializer)
