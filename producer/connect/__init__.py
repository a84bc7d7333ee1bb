"""Connecting a customer's system: the catalogue of systems, and the guided flow through one."""
