"""Registering versions that are served elsewhere, and reading a first schema from their reference data."""

import tempfile
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from accounts.actors import Actor, account_of
from accounts.services.changes import bump_generation, record_change
from mlmon.tables import TableLimits
from models_registry.models import Model, ModelVersion
from models_registry.schema_document import schema_of_document
from models_registry.schema_inference import InferredSchema, SchemaChoices, infer_schema
from models_registry.services.references import refuse_large
from models_registry.services.versions import check_features, check_new_version, create_features, register_model


def register_external_version(
    *, model: Model | str, version: str, document: object, notes: str = "", user: Actor | None = None
) -> ModelVersion:
    """Store a version that another server serves in stage ``staging``; its predictions come as observations.

    Parameters
    ----------
    model, version
        The model, and a semantic version that it does not have yet. A name is registered together with the version.
    document
        The schema, as decoded from JSON (`models_registry.schema_document`).
    notes, user
        Free text, and who registers it.

    Raises
    ------
    SchemaError
        The schema is invalid; the message names each place and the reason.
    ValidationError
        The version is malformed or taken.
    """
    schema = schema_of_document(document)
    check_new_version(model, version)
    check_features(schema.features)
    with transaction.atomic():
        row = ModelVersion(
            model=register_model(name=model, user=user) if isinstance(model, str) else model,
            version=version,
            task_type=schema.task_type.value,
            classes=list(schema.classes),
            score_kind=schema.score_kind or "",
            notes=notes,
            created_by=account_of(user),
        )
        row.full_clean(exclude={"created_by"})
        row.save()
        create_features(row, schema.features)
        bump_generation()
        record_change(user=user, row=row, message="Registered as served elsewhere.")
    return row


def schema_of_upload(*, file: File[bytes], choices: SchemaChoices) -> InferredSchema:
    """Return the schema that a reference file suggests. Nothing is stored.

    Raises
    ------
    ReferenceFileError
        The file cannot be read, or shows neither a task nor a feature.
    """
    refuse_large(file.size)
    limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
    with tempfile.NamedTemporaryFile(prefix="mlmon-schema-") as copy:
        for chunk in file.chunks(1 << 20):
            copy.write(chunk)
        copy.flush()
        return infer_schema(Path(copy.name), choices, limits)
