"""The source of the Grafana dashboards. ``python -m monitoring.dashboards`` writes their JSON files."""
