"""The metrics that Prometheus scrapes, except those of the request path (`inference.metrics`)."""
