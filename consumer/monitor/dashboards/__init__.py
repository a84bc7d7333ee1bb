"""Grafana dashboards as code: `boards` says what is on them, `grafana` makes JSON of it."""
