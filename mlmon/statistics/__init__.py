"""Methods of comparing two samples: arrays in, frozen dataclasses out; one method a file."""
