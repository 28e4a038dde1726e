"""Drift in the admin: policies, checks and incidents."""

from drift.admin.checks import DriftCheckAdmin as DriftCheckAdmin
from drift.admin.incidents import DriftIncidentAdmin as DriftIncidentAdmin
from drift.admin.policies import DriftPolicyAdmin as DriftPolicyAdmin
