"""Drift in the admin: policies that people set, checks that they read, incidents that they look after."""

from drift.admin.checks import DriftCheckAdmin as DriftCheckAdmin
from drift.admin.incidents import DriftIncidentAdmin as DriftIncidentAdmin
from drift.admin.policies import DriftPolicyAdmin as DriftPolicyAdmin
