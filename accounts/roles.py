"""The table of roles and actions: who may do what.

The groups of the database follow it (`accounts.services.roles`), the admin checks it, and docs/permissions.md shows it.
Permissions are strings, as in Django, so the table can name upper apps without importing them.
"""

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class Role(StrEnum):
    """A group of people; each role may also do what the roles before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    MODEL_OWNER = "model owner"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do everything that `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


def _all(verbs: str, *rows: str) -> tuple[str, ...]:
    """Return the permissions for each of `verbs` (separated by spaces) on each of `rows` ("app.model")."""
    parts = [row.partition(".") for row in rows]
    return tuple(f"{app}.{verb}_{model}" for app, _, model in parts for verb in verbs.split())


SCHEDULE_ROWS = tuple(
    f"django_celery_beat.{name}" for name in ("periodictask", "intervalschedule", "crontabschedule", "clockedschedule")
)
ROWS_TO_SEE = (
    "models_registry.model",
    "models_registry.modelversion",
    "models_registry.modelfeature",
    "models_registry.referencedataset",
    "accounts.changerecord",
    "accounts.apitoken",
    "inference.capturepolicy",
    "inference.kserveservice",
    "performance.groundtruth",
    "performance.groundtruthcorrection",
    "performance.groundtruthupload",
    "drift.driftpolicy",
    "drift.featurepolicy",
    "drift.driftcheck",
    "drift.driftincident",
    "monitoring.jobrun",
    "performance.performancepolicy",
    "performance.performancereport",
    "rollouts.rollout",
    "rollouts.rolloutinterval",
    "rollouts.rolloutincident",
    *SCHEDULE_ROWS,
    "auth.user",
    "auth.group",
)


class Action(Enum):
    """Something that a person does: its summary, the lowest role that may do it, and the permissions it needs."""

    SEE = "See every page; read through the API when logged in", Role.VIEWER, _all("view", *ROWS_TO_SEE)
    HANDLE_INCIDENTS = (
        "Acknowledge, snooze and close incidents",
        Role.OPERATOR,
        ("drift.change_driftincident",),
    )
    ACKNOWLEDGE_ROLLBACK = "Acknowledge rollbacks", Role.OPERATOR, ("rollouts.change_rolloutincident",)
    RUN_CHECK = "Run a drift check now", Role.OPERATOR, ("drift.add_driftcheck",)
    REGISTER_MODEL = (
        "Register and describe models; delete one without versions",
        Role.MODEL_OWNER,
        _all("add change delete", "models_registry.model"),
    )
    UPLOAD_VERSION = (
        "Upload a version, or register one that is served elsewhere",
        Role.MODEL_OWNER,
        ("models_registry.add_modelversion",),
    )
    EDIT_VERSION = (
        "Name the features of a version in staging; write its notes",
        Role.MODEL_OWNER,
        ("models_registry.change_modelversion",),
    )
    CHANGE_STAGE = (
        "Change a version's stage and traffic: promote, roll back, run as shadow, archive",
        Role.MODEL_OWNER,
        ("models_registry.promote_modelversion",),
    )
    RUN_ROLLOUTS = (
        "Plan, start, pause, roll back, promote and cancel rollouts",
        Role.MODEL_OWNER,
        _all("add change", "rollouts.rollout"),
    )
    UPLOAD_REFERENCE = "Upload reference data", Role.MODEL_OWNER, ("models_registry.add_referencedataset",)
    ACTIVATE_REFERENCE = (
        "Activate earlier reference data",
        Role.MODEL_OWNER,
        ("models_registry.change_referencedataset",),
    )
    REBASELINE = (
        "Make the window of a check the new reference",
        Role.MODEL_OWNER,
        ("models_registry.add_referencedataset",),
    )
    SET_DRIFT_POLICY = (
        "Set drift policies and thresholds",
        Role.MODEL_OWNER,
        _all("add change delete", "drift.driftpolicy", "drift.featurepolicy"),
    )
    SET_PERFORMANCE_POLICY = (
        "Set performance policies",
        Role.MODEL_OWNER,
        _all("add change delete", "performance.performancepolicy"),
    )
    SET_CAPTURE_POLICY = (
        "Set what is captured, and for how long",
        Role.MODEL_OWNER,
        _all("add change delete", "inference.capturepolicy"),
    )
    MAP_KSERVE_SERVICES = (
        "Say which services of KServe belong to a model",
        Role.MODEL_OWNER,
        _all("add change delete", "inference.kserveservice"),
    )
    UPLOAD_GROUND_TRUTH = "Upload ground truth", Role.MODEL_OWNER, ("performance.add_groundtruthupload",)
    MAKE_TOKEN = (
        "Create API tokens with the scopes predict, read, registry and rollouts; revoke one's own",
        Role.MODEL_OWNER,
        ("accounts.add_apitoken",),
    )
    MANAGE_TOKENS = (
        "Create API tokens with the scope all; revoke anyone's",
        Role.ADMIN,
        _all("add change", "accounts.apitoken"),
    )
    MANAGE_PEOPLE = "Manage users and groups", Role.ADMIN, _all("add change delete", "auth.user", "auth.group")
    MANAGE_SCHEDULES = (
        "Change schedules; run a scheduled task now",
        Role.ADMIN,
        _all("add change delete", *SCHEDULE_ROWS),
    )

    def __init__(self, summary: str, least_role: Role, permissions: tuple[str, ...]) -> None:
        self.summary = summary
        self.least_role = least_role
        self.permissions = permissions

    def is_allowed(self, person: "User | AnonymousUser") -> bool:
        """Return whether a user may do this: by role, by individual permissions, or as a superuser."""
        return person.has_perms(self.permissions)


def permissions_of(role: Role) -> frozenset[str]:
    """Return every permission of a role, as "app.codename"."""
    return frozenset(
        permission for action in Action if role.includes(action.least_role) for permission in action.permissions
    )
