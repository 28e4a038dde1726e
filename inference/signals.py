"""What inference announces to the apps above it."""

from django.dispatch import Signal

# Sent after the commit of a batch, with ``version_id`` and ``drafts``, the chunks that were written.
observations_archived = Signal()
