"""What people see of inference in the admin."""

from inference.admin import ground_truth as ground_truth
from inference.admin import tokens as tokens
