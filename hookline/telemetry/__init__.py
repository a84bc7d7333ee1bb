"""Traces, metrics and logs of a process, and the redaction of all three."""
