"""Inference in the admin: what is captured."""

from inference.admin import capture as capture
