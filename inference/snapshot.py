"""What a process serves: a picture of the registry with its models loaded, replaced as a whole at every change.

The request path reads the picture and touches no SQL. The database away: the last picture goes on answering.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from accounts.selectors import current_generation, valid_tokens
from inference import metrics, selectors
from inference.capture import CaptureRule
from inference.exceptions import ArchivedVersionError, NoVersionLoadedError, RegistryUnreadError
from models_registry.engine import Engine
from models_registry.exceptions import UnknownModelError, UnknownVersionError
from models_registry.models import ModelVersion, Stage
from models_registry.schema import ModelSchema

logger = logging.getLogger(__name__)


class LoadedVersion:
    """A version that can answer: its schema, its ONNX session and its metric children."""

    def __init__(self, row: ModelVersion) -> None:
        self.id = row.pk
        self.model_name = row.model.name
        self.version = row.version
        self.stage = Stage(row.stage)
        self.traffic_weight = row.traffic_weight
        self.schema: ModelSchema = row.schema()
        self.capture = _capture_rule(row)
        self.artefact_sha256 = row.artefact_sha256
        self._artefact_path = Path(row.artefact.path)
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()
        self.load_error = ""
        self.metrics = metrics.VersionMetrics(row.pk, self.model_name, self.version, self.schema.classes)

    def engine(self) -> Engine:
        """Return the ONNX session, made at the first call; NoVersionLoadedError where it cannot be made."""
        with self._engine_lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    def take_engine_of(self, other: "LoadedVersion | None") -> None:
        """Go on with the session of an earlier picture where artefact and schema are the same."""
        if other and other.artefact_sha256 == self.artefact_sha256 and other.schema == self.schema:
            self._engine = other._engine

    @property
    def memory_bytes(self) -> int:
        return self._engine.memory_bytes if self._engine else 0

    def _load(self) -> Engine:
        try:
            engine = Engine(
                self._artefact_path, self.schema, timeout_seconds=settings.MLMON_PREDICTION_TIMEOUT_MS / 1000
            )
        except Exception as error:
            # Told by /readyz to everyone: the cause names paths of this server, and is in the log.
            self.load_error = f"{self.model_name} {self.version} cannot be loaded; the log says why"
            logger.exception("%s %s cannot be loaded.", self.model_name, self.version)
            raise NoVersionLoadedError(f"{self.model_name} {self.version} cannot be loaded now.") from error
        self.load_error = ""
        return engine


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model's versions by name, and those that share its traffic, the primary one first."""

    name: str
    versions: Mapping[str, LoadedVersion]
    production: tuple[LoadedVersion, ...]
    shadows: tuple[LoadedVersion, ...]
    archived: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What a request needs to know of an API token."""

    name: str
    scope: str
    expires_at: datetime | None

    def is_valid(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one generation."""

    generation: int
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    tokens: Mapping[str, KnownToken] = field(default_factory=dict)

    def model(self, name: str) -> ServedModel:
        """Return a model by name; RegistryUnreadError while nothing is known, UnknownModelError where it is not."""
        self._demand_registry()
        try:
            return self.models[name]
        except KeyError:
            raise UnknownModelError(name) from None

    def version(self, model_name: str, version: str) -> LoadedVersion:
        """Return a version by name, of any stage but archived."""
        model = self.model(model_name)
        if version in model.archived:
            raise ArchivedVersionError(f"Version {version} of {model_name} is archived.")
        try:
            return model.versions[version]
        except KeyError:
            raise UnknownVersionError(model_name, version) from None

    def token(self, digest: str) -> KnownToken | None:
        """Return the token of that digest, or None; RegistryUnreadError while none is known."""
        self._demand_registry()
        return self.tokens.get(digest)

    def _demand_registry(self) -> None:
        if self.generation < 0:
            raise RegistryUnreadError

    def load_errors(self) -> list[str]:
        """Return why production versions cannot answer; empty when all can."""
        served = [version for model in self.models.values() for version in model.production]
        return [version.load_error for version in served if version.load_error]


EMPTY = Snapshot(generation=-1)


def take_snapshot(previous: Snapshot) -> Snapshot:
    """Read the registry and load what is new in it; `previous` keeps answering meanwhile.

    Versions in production and shadow are loaded now, staging ones at their first request.
    """
    generation = current_generation()  # read first: a change during the read is seen by the next look
    models = {
        name: _served_model(name, rows, previous.models.get(name)) for name, rows in selectors.versions_by_model()
    }
    tokens = {
        row.digest: KnownToken(name=row.name, scope=row.scope, expires_at=row.expires_at) for row in valid_tokens()
    }
    _publish_memory(models.values(), previous)
    return Snapshot(generation=generation, models=models, tokens=tokens)


def _served_model(name: str, rows: Iterable[ModelVersion], previous: ServedModel | None) -> ServedModel:
    rows = list(rows)
    versions = {row.version: LoadedVersion(row) for row in rows if row.stage != Stage.ARCHIVED}
    for version in versions.values():
        version.take_engine_of(previous.versions.get(version.version) if previous else None)
        if version.stage != Stage.STAGING:
            _load_eagerly(version)
    metrics.bind_capture_metrics(name)
    production = [version for version in versions.values() if version.stage is Stage.PRODUCTION]
    return ServedModel(
        name=name,
        versions=versions,
        production=tuple(sorted(production, key=lambda version: (-version.traffic_weight, -version.id))),
        shadows=tuple(version for version in versions.values() if version.stage is Stage.SHADOW),
        archived=frozenset(row.version for row in rows if row.stage == Stage.ARCHIVED),
    )


def _capture_rule(row: ModelVersion) -> CaptureRule:
    policy = selectors.capture_policy_of(row.model)
    return CaptureRule(policy.sampling_rate, frozenset(policy.never_stored_features))


def _load_eagerly(version: LoadedVersion) -> None:
    try:
        version.engine()
    except NoVersionLoadedError as error:
        logger.warning("%s Other versions go on.", error)  # kept in load_error, told by /readyz


def _publish_memory(models: Iterable[ServedModel], previous: Snapshot) -> None:
    memory = dict.fromkeys(previous.models, 0)
    memory |= {model.name: sum(version.memory_bytes for version in model.versions.values()) for model in models}
    for name, taken in memory.items():
        metrics.MODEL_MEMORY.labels(name).set(taken)
