"""Alerts: rules in one typed form, evaluated here or by a Prometheus, and told to people."""
