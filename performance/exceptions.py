"""Errors of ground truth, in words for the client."""

from inference.exceptions import InferenceError, ItemError


class GroundTruthFileError(InferenceError):
    """A file of ground truth that is not taken."""


class GroundTruthError(ItemError):
    """An item of ground truth that cannot be taken."""
