"""Users, groups, API tokens and the audit trail in the admin, and the base classes of all its pages."""

from accounts.admin import changes as changes
from accounts.admin import people as people
from accounts.admin import tokens as tokens
