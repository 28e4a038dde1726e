"""Addresses of the calls of rollouts."""

from django.urls import path

from rollouts.api.views import (
    CancelView,
    PauseView,
    PromoteView,
    ResumeView,
    RollbackView,
    RolloutListView,
    RolloutView,
    StartView,
)

ROLLOUTS = "api/v1/models/<str:model_name>/rollouts"
ROLLOUT = f"{ROLLOUTS}/<int:rollout_id>"

urlpatterns = [
    path(ROLLOUTS, RolloutListView.as_view(), name="rollouts"),
    path(ROLLOUT, RolloutView.as_view(), name="rollout"),
    path(f"{ROLLOUT}/start", StartView.as_view(), name="rollout-start"),
    path(f"{ROLLOUT}/pause", PauseView.as_view(), name="rollout-pause"),
    path(f"{ROLLOUT}/resume", ResumeView.as_view(), name="rollout-resume"),
    path(f"{ROLLOUT}/rollback", RollbackView.as_view(), name="rollout-rollback"),
    path(f"{ROLLOUT}/promote", PromoteView.as_view(), name="rollout-promote"),
    path(f"{ROLLOUT}/cancel", CancelView.as_view(), name="rollout-cancel"),
]
