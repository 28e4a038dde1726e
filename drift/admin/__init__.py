"""Drift in the admin: policies that people set, checks that they read."""

from drift.admin.checks import DriftCheckAdmin as DriftCheckAdmin
from drift.admin.policies import DriftPolicyAdmin as DriftPolicyAdmin
