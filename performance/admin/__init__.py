"""Ground truth and performance in the admin."""

from performance.admin import ground_truth as ground_truth
from performance.admin import reports as reports
