"""What a process serves: a snapshot of the registry with its models loaded, replaced as a whole after every change.

A request reads the snapshot and runs no SQL. While the database is unavailable, the last snapshot stays in use.
"""

import hashlib
import logging
import os
import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from accounts.selectors import current_generation, valid_tokens
from inference import metrics, selectors
from inference.capture import CaptureQueue, CaptureRule
from inference.exceptions import (
    ArchivedVersionError,
    NoVersionLoadedError,
    RegistryUnreadError,
    ServedElsewhereError,
)
from inference.rollout_counts import PAIR_WEIGHT, RolloutRule, RolloutTally, ServedRollout, active_rules
from inference.rows import RowReader
from inference.selectors import KServeServices
from inference.served import ServedRequest, ServedRequests
from inference.shadow import ShadowRunner
from inference.stream import redis_client
from inference.traffic import TrafficTally
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError, UnknownModelError, UnknownVersionError
from models_registry.models import Model, ModelVersion, Stage
from models_registry.schema import ModelSchema

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
ROLLOUT_SECONDS = 1.0  # between two appends of the counts of rollouts
TRAFFIC_SECONDS = 2.0  # between two writes of the counts: a process killed with -9 loses at most this much of them


class LoadedVersion:
    """A version that can predict or is served elsewhere: its schema, its ONNX session and its metrics.

    `previous` is the version in the previous snapshot; its session is used if artefact and schema are the same.
    """

    def __init__(self, row: ModelVersion, tally: TrafficTally, previous: "LoadedVersion | None") -> None:
        policy = selectors.capture_policy_of(row.model)
        self.id = row.pk
        self.model_name = row.model.name
        self.version = row.version
        self.stage = Stage(row.stage)
        self.traffic_weight = row.traffic_weight
        self.schema: ModelSchema = row.schema()
        self.rows = RowReader(self.schema.features)
        self.capture = CaptureRule(policy.sampling_rate, frozenset(policy.never_stored_features))
        self.artefact_sha256 = row.artefact_sha256
        self._artefact_path = row.served_path() if row.is_served_here else None
        self._engine: Engine | None = None
        if previous and previous.artefact_sha256 == self.artefact_sha256 and previous.schema == self.schema:
            self._engine = previous._engine
        self._engine_lock = threading.Lock()
        self.load_error = ""
        self.is_in_rollout = False
        self.metrics = metrics.VersionMetrics(row.pk, self.model_name, self.version, self.schema, tally)

    @property
    def is_served_here(self) -> bool:
        """Whether it can predict. Otherwise another server predicts with it and sends observations."""
        return self._artefact_path is not None

    def engine(self) -> Engine:
        """Return the ONNX session, created by the first call.

        Raises
        ------
        ServedElsewhereError
            It has no session, because another server predicts with it.
        NoVersionLoadedError
            The session cannot be created.
        """
        if self._artefact_path is None:
            raise ServedElsewhereError(self.model_name, self.version)
        with self._engine_lock:
            if self._engine is None:
                timeout_seconds = settings.MLMON_PREDICTION_TIMEOUT_MS / 1000
                try:
                    self._engine = Engine(self._artefact_path, self.schema, timeout_seconds=timeout_seconds)
                except (ArtefactError, OSError) as error:
                    # /readyz shows this to everyone. The cause contains paths of this server, so only the log has it.
                    self.load_error = f"{self.model_name} {self.version} cannot be loaded; see the server's log"
                    logger.exception("%s %s cannot be loaded.", self.model_name, self.version)
                    raise NoVersionLoadedError(f"{self.model_name} {self.version} cannot be loaded now.") from error
                self.load_error = ""
            return self._engine

    @property
    def memory_bytes(self) -> int:
        return self._engine.memory_bytes if self._engine else 0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model's versions by name, and those in production; the primary version comes first.

    Versions that are served elsewhere get neither traffic nor copies of it: `shadows` does not have them.
    """

    name: str
    versions: Mapping[str, LoadedVersion]
    production: tuple[LoadedVersion, ...]
    shadows: tuple[LoadedVersion, ...]
    archived: frozenset[str]
    rollout: ServedRollout | None = None  # while both of its versions get traffic

    def route(self, routing_key: str | None) -> LoadedVersion:
        """Return a production version that is served here, chosen by the traffic weights.

        With a `routing_key`, the choice depends on the key and on which versions share the traffic, so that a caller
        stays on one version as long as these and the weights stay. Other versions get other callers: otherwise the same
        callers would be the first to get each new version. Of two versions, the later one only gains callers while its
        share grows. Without a key, the choice is random.

        Raises
        ------
        NoVersionLoadedError
            The model has no version in production.
        ServedElsewhereError
            All its versions in production are served elsewhere.
        """
        if not self.production:
            raise NoVersionLoadedError(f"Model {self.name!r} has no version in production.")
        if len(self.production) == 1 and self.production[0].is_served_here:
            return self.production[0]
        choices = [version for version in self.production if version.is_served_here]
        if not choices:
            raise ServedElsewhereError(self.name)
        if len(choices) == 1:
            return choices[0]
        choices.sort(key=lambda version: version.id)
        if routing_key is None:
            share = random.random()  # noqa: S311 -- a share of traffic, no secret
        else:
            ids = ",".join(str(version.id) for version in choices)
            digest = hashlib.blake2b(f"{ids} {routing_key}".encode(), digest_size=8).digest()
            share = int.from_bytes(digest, "big") / 2**64
        remaining = share * sum(version.traffic_weight for version in choices)
        for version in choices:
            remaining -= version.traffic_weight
            if remaining < 0:
                return version
        return choices[-1]


@dataclass(frozen=True, slots=True)
class KnownToken:
    """The part of an API token that a request needs."""

    name: str
    scope: str
    expires_at: datetime | None

    def is_valid(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one generation; negative if it has not been read yet."""

    generation: int = -1
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    tokens: Mapping[str, KnownToken] = field(default_factory=dict)
    kserve_services: KServeServices = field(default_factory=KServeServices)

    def model(self, name: str) -> ServedModel:
        """Return a model by name.

        Raises
        ------
        UnknownModelError, RegistryUnreadError
            There is no such model, or the registry has not been read yet.
        """
        if self.generation < 0:
            raise RegistryUnreadError
        if name not in self.models:
            raise UnknownModelError(name)
        return self.models[name]

    def version(self, model_name: str, version: str) -> LoadedVersion:
        """Return a version by name; ArchivedVersionError or UnknownVersionError if it cannot be used."""
        model = self.model(model_name)
        if version in model.archived:
            raise ArchivedVersionError(f"Version {version} of {model_name} is archived.")
        if version not in model.versions:
            raise UnknownVersionError(model_name, version)
        return model.versions[version]


def take_snapshot(previous: Snapshot, tally: TrafficTally) -> Snapshot:
    """Read the registry and load its new versions, while `previous` stays in use.

    Versions in production and shadow are loaded now, staging versions at their first request.
    """
    generation = current_generation()  # read first: the next refresh sees a change that is made during this read
    rows_of_model: dict[str, list[ModelVersion]] = {name: [] for name in Model.objects.values_list("name", flat=True)}
    rules = active_rules()
    rows = ModelVersion.objects.select_related("model__capture_policy").prefetch_related("features").order_by("id")
    for row in rows:
        rows_of_model.setdefault(row.model.name, []).append(row)
    models = {
        name: _load_model(name, versions, previous.models.get(name), tally, rules)
        for name, versions in rows_of_model.items()
    }
    tokens = {
        one.digest: KnownToken(name=one.name, scope=one.scope, expires_at=one.expires_at) for one in valid_tokens()
    }
    for name in previous.models.keys() | models.keys():
        loaded = models[name].versions.values() if name in models else ()
        metrics.MODEL_MEMORY.labels(name).set(sum(version.memory_bytes for version in loaded))
    kserve_services = selectors.kserve_services()
    for name in {metrics.UNKNOWN, *kserve_services.models}:
        metrics.expect_kserve_events(name)
    return Snapshot(generation=generation, models=models, tokens=tokens, kserve_services=kserve_services)


def _load_model(
    name: str,
    rows: Sequence[ModelVersion],
    previous: ServedModel | None,
    tally: TrafficTally,
    rules: Mapping[int, RolloutRule],
) -> ServedModel:
    known = previous.versions if previous else {}
    versions = {
        row.version: LoadedVersion(row, tally, known.get(row.version)) for row in rows if row.stage != Stage.ARCHIVED
    }
    rule = rules.get(rows[0].model_id) if rows else None
    for version in versions.values():
        version.is_in_rollout = rule is not None and version.id in (rule.champion_id, rule.challenger_id)
        if version.is_served_here and version.stage != Stage.STAGING:
            try:
                version.engine()
            except NoVersionLoadedError as error:
                logger.warning("%s Other versions stay in use.", error)  # kept in load_error, which /readyz shows
    for metric in (
        metrics.CAPTURE_DROPPED,
        metrics.CAPTURE_SAMPLED_OUT,
        metrics.CAPTURE_PENDING,
        metrics.SHADOW_DROPPED,
    ):
        metric.labels(name)  # so that the series exists at 0
    production = [version for version in versions.values() if version.stage is Stage.PRODUCTION]
    return ServedModel(
        name=name,
        versions=versions,
        production=tuple(sorted(production, key=lambda version: (-version.traffic_weight, -version.id))),
        shadows=tuple(one for one in versions.values() if one.stage is Stage.SHADOW and one.is_served_here),
        archived=frozenset(row.version for row in rows if row.stage == Stage.ARCHIVED),
        rollout=_served_rollout(rule, versions.values()),
    )


def _served_rollout(rule: RolloutRule | None, versions: Collection[LoadedVersion]) -> ServedRollout | None:
    """Return the rollout with the weights of this snapshot, if both of its versions get traffic, or copies of it."""
    if rule is None:
        return None
    weights = {version.id: version.traffic_weight for version in versions}
    if rule.is_shadow:
        is_shadow = any(one.id == rule.challenger_id and one.stage is Stage.SHADOW for one in versions)
        has_pairs = is_shadow and weights.get(rule.champion_id, 0) > 0
        return ServedRollout(rule, PAIR_WEIGHT, PAIR_WEIGHT) if has_pairs else None
    champion, challenger = weights.get(rule.champion_id, 0), weights.get(rule.challenger_id, 0)
    return ServedRollout(rule, champion, challenger) if champion and challenger else None


class Serving:
    """The serving state of one process: its snapshot, capture queue, shadow runner and traffic counts.

    A web process calls `start` once; the snapshot is then refreshed in the background, about a second after a change of
    the registry. Otherwise (in a test or a shell), every access compares the generation first.

    Attributes
    ----------
    settles_at_once
        Whether a request is counted and captured before its response; for tests.
    """

    settles_at_once = False

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._refresh_lock = threading.Lock()
        self._is_started = False
        self._stopped = threading.Event()
        self.tally = TrafficTally()
        self.rollouts = RolloutTally()
        self.capture_queue = CaptureQueue(
            redis_client,
            queue_rows=settings.MLMON_CAPTURE_QUEUE_ROWS,
            flush_seconds=settings.MLMON_CAPTURE_FLUSH_MS / 1000,
            stream_rows=settings.MLMON_STREAM_ROWS,
            before_flush=self.settle,
        )
        self.shadows = ShadowRunner(self.capture_queue, self.rollouts)
        self._served = ServedRequests(self.capture_queue, self.shadows.submit)

    def snapshot(self) -> Snapshot:
        """Return the current snapshot of the registry."""
        if not self._is_started:
            self.refresh()
        return self._snapshot

    def record(self, request: ServedRequest) -> None:
        """Count and capture a request that has been served, with the next flush."""
        self._served.add(request)
        if self.settles_at_once:
            self.settle()

    def settle(self) -> None:
        """Count and capture the requests that have been served so far."""
        self._served.settle()

    def refresh(self) -> None:
        """Renew the snapshot if the registry has changed; raise DatabaseError if the database is unavailable."""
        with self._refresh_lock:
            if current_generation() != self._snapshot.generation:
                self._snapshot = take_snapshot(self._snapshot, self.tally)
                logger.info("Serving generation %d of the registry.", self._snapshot.generation)

    def start(self) -> None:
        """Load the registry now, and refresh it and write the traffic counts in the background."""
        self._is_started = True
        self._run_or_log(self.refresh)
        for name, seconds, work in (
            ("mlmon-registry", REFRESH_SECONDS, self.refresh),
            ("mlmon-traffic", TRAFFIC_SECONDS, lambda: self.tally.flush(redis_client())),
            ("mlmon-rollouts", ROLLOUT_SECONDS, lambda: self.rollouts.flush(redis_client())),
        ):
            threading.Thread(target=self._repeat, args=(seconds, work), name=name, daemon=True).start()

    def stop(self) -> None:
        """End the threads and write what is still queued; called when the process ends."""
        self._stopped.set()
        self.shadows.stop()
        self.capture_queue.flush_and_stop()
        self._run_or_log(lambda: self.tally.flush(redis_client()))
        self._run_or_log(lambda: self.rollouts.flush(redis_client()))

    def _repeat(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._stopped.wait(seconds):
            self._run_or_log(work)
            close_old_connections()
        connection.close()

    def _run_or_log(self, work: Callable[[], None]) -> None:
        """Refresh the registry, which needs the database, or write the traffic counts to Redis; log a failure."""
        try:
            work()
        except DatabaseError as error:
            logger.warning("The registry cannot be read; the loaded models stay in use: %s", error)
            connection.close()
        except redis.RedisError as error:
            logger.warning("Redis did not store counts; they are kept for the next attempt: %s", error)
        except Exception:
            logger.exception("A background task of the serving process failed; it is tried again.")


_of_process: dict[int, Serving] = {}


def serving() -> Serving:
    """Return the serving state of this process; a forked child creates its own, as ONNX sessions do not survive."""
    pid = os.getpid()
    if pid not in _of_process:
        _of_process.setdefault(pid, Serving())
    return _of_process[pid]


def stop_serving() -> None:
    """Stop and forget the serving state of this process, if there is one."""
    state = _of_process.get(os.getpid())
    if state is not None:
        state.stop()
        del _of_process[os.getpid()]
