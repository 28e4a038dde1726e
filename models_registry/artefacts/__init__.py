"""The inspection of an uploaded model: checks of its graph, and its trial in a sandboxed process."""
