"""Inference in the admin: tokens, what is captured, and the ground truth."""

from inference.admin import capture as capture
from inference.admin import ground_truth as ground_truth
from inference.admin import tokens as tokens
