"""The traffic of a rollout's versions: give the challenger its share, take it back, and notice what people change."""

from django.db.models import QuerySet

from accounts.actors import PLATFORM, Actor
from inference.rollout_counts import PAIR_WEIGHT
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.versions import promote, set_stage
from rollouts.models import Rollout
from rollouts.plan import TOTAL_WEIGHT

WEIGHT_OF_ONE = 100  # of a champion that has all of the traffic


def locked_rollout(rollout_id: int) -> Rollout:
    """Return a rollout as it is now, and let no other transition of its model begin before this transaction ends.

    Promotions lock the same row of the model first.
    """
    model_id = Rollout.objects.values_list("model_id", flat=True).get(pk=rollout_id)
    Model.objects.select_for_update().get(pk=model_id)
    rows = Rollout.objects.select_related("model", "champion__model", "challenger__model")
    rollout = rows.select_for_update(of=("self",)).get(pk=rollout_id)
    versions = ModelVersion.objects.select_related("model").select_for_update(of=("self",)).order_by("pk")
    found = {one.pk: one for one in versions.filter(pk__in=(rollout.champion_id, rollout.challenger_id))}
    rollout.champion, rollout.challenger = found[rollout.champion_id], found[rollout.challenger_id]
    return rollout


def weight_of_step(rollout: Rollout) -> int:
    """Return the weight of the challenger's events in the current step, of `TOTAL_WEIGHT`."""
    return PAIR_WEIGHT if rollout.is_shadow else rollout.step.challenger_weight


def give_share(rollout: Rollout, *, user: Actor = PLATFORM) -> None:
    """Give the challenger the share of the current step, or copies of all requests if it is a shadow."""
    if rollout.is_shadow:
        set_stage(version=rollout.challenger, stage=Stage.SHADOW, user=user)
        return
    weight = rollout.step.challenger_weight
    champion, challenger = rollout.champion, rollout.challenger
    set_stage(version=champion, stage=Stage.PRODUCTION, traffic_weight=TOTAL_WEIGHT - weight, user=user)
    set_stage(version=challenger, stage=Stage.PRODUCTION, traffic_weight=weight, user=user)


def take_share(rollout: Rollout, *, user: Actor = PLATFORM) -> None:
    """Take all requests from the challenger; the champion gets them, unless people gave other versions some."""
    champion, challenger = rollout.champion, rollout.challenger
    others = _production_versions(rollout).exclude(pk__in=(champion.pk, challenger.pk))
    if champion.stage != Stage.PRODUCTION or not others.exists():
        set_stage(version=champion, stage=Stage.PRODUCTION, traffic_weight=WEIGHT_OF_ONE, user=user)
    if challenger.stage in (Stage.PRODUCTION, Stage.SHADOW):
        set_stage(version=challenger, stage=Stage.STAGING, user=user)


def promote_challenger(rollout: Rollout, *, user: Actor = PLATFORM) -> None:
    """Give the challenger all of the model's traffic."""
    promote(version=rollout.challenger, user=user)


def edited_by_hand(rollout: Rollout) -> str:
    """Return how the traffic differs from what the rollout has set, in a sentence; "" if it does not."""
    champion, challenger = rollout.champion, rollout.challenger
    allowed = {champion.pk}
    if rollout.is_live and not rollout.is_shadow:
        allowed.add(challenger.pk)
        expected = {champion: TOTAL_WEIGHT - rollout.challenger_weight, challenger: rollout.challenger_weight}
        for version, weight in expected.items():
            if (version.stage, version.traffic_weight) != (Stage.PRODUCTION, weight):
                return (
                    f"{version} is in {version.stage} with weight {version.traffic_weight}; this rollout had set "
                    f"production with weight {weight}."
                )
    elif champion.stage != Stage.PRODUCTION:
        return f"{champion} is in {champion.stage}; this rollout needs it in production."
    elif rollout.is_live and challenger.stage != Stage.SHADOW:
        return f"{challenger} is in {challenger.stage}; this rollout had set shadow."
    other = _production_versions(rollout).exclude(pk__in=allowed).first()
    return "" if other is None else f"{other} is in production too; a rollout has two versions."


def _production_versions(rollout: Rollout) -> QuerySet[ModelVersion]:
    rows = ModelVersion.objects.filter(model_id=rollout.model_id, stage=Stage.PRODUCTION)
    return rows.select_related("model").order_by("pk")
