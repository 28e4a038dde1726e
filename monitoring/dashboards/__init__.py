"""Grafana's dashboards, written by code: ``python -m monitoring.dashboards`` writes grafana/dashboards anew."""
