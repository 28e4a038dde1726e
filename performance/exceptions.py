"""Errors of ground truth, with messages for the client."""

from inference.exceptions import InferenceError, ItemError


class GroundTruthFileError(InferenceError):
    """A file of ground truth is refused."""


class GroundTruthError(ItemError):
    """An item of ground truth is invalid."""
