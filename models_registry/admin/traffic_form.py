"""The page on which a person shares out the traffic of a model between its versions."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.base import AuditedAdmin, user_of
from models_registry.exceptions import ConflictError
from models_registry.models import LARGEST_WEIGHT, Model, ModelVersion, Stage
from models_registry.services.versions import split_traffic


class TrafficForm(forms.Form):
    """A traffic weight for each version that can have one."""

    def __init__(self, model: Model, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._model = model
        rows = model.versions.filter(stage__in=(Stage.PRODUCTION, Stage.STAGING)).order_by("-traffic_weight", "-pk")
        self._versions: dict[str, ModelVersion] = {f"version_{one.pk}": one for one in rows if one.is_served_here}
        total = sum(one.traffic_weight for one in self._versions.values())
        for name, version in self._versions.items():
            is_live = version.stage == Stage.PRODUCTION
            share = f"in production, {version.traffic_weight / total:.1%} of the requests" if is_live else "in staging"
            self.fields[name] = forms.IntegerField(
                label=f"Weight of {version.version}",
                min_value=0,
                max_value=LARGEST_WEIGHT,
                initial=version.traffic_weight,
                widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
                help_text=f"Now {share}.",
            )

    def save(self, user: Any) -> bool:
        """Share out the traffic; return False, with the reason as an error, if that is not possible."""
        weights = {version.pk: self.cleaned_data[name] for name, version in self._versions.items()}
        try:
            split_traffic(model=self._model, weights=weights, user=user)
        except ConflictError as error:
            self.add_error(None, str(error))
            return False
        return True


@action(description="Share out the traffic", icon="call_split", permissions=["change_stage"])
def share_out_traffic(self: AuditedAdmin, request: HttpRequest, object_id: int) -> HttpResponse:
    """Show the weights; store them and say which share each version gets."""
    model = self.row_or_404(request, object_id)
    form = TrafficForm(model, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and form.save(user_of(request)):
        live = model.versions.filter(stage=Stage.PRODUCTION).order_by("-traffic_weight", "pk")
        serving = [one for one in live if one.is_served_here]
        total = sum(one.traffic_weight for one in serving)
        shares = ", ".join(f"{one.version} gets {one.traffic_weight / total:.1%}" for one in serving)
        self.message_user(request, f"Of the requests for {model}, {shares}.")
        return redirect("admin:models_registry_model_change", model.pk)
    fields: Any = form  # AdminForm is annotated for forms of a model only
    context = {
        **admin.site.each_context(request),
        "opts": self.opts,
        "original": model,
        "title": f"Share out the traffic: {model}",
        "adminform": AdminForm(fields, [(None, {"fields": list(form.fields)})], {}, model_admin=self),
        "errors": form.errors if form.is_bound else {},
        "media": self.media + form.media,
    }
    return TemplateResponse(request, "admin/models_registry/model/traffic.html", context)
