"""Tokens and capture policies in the admin."""

from inference.admin import capture as capture
from inference.admin import tokens as tokens
