"""Synthetic webhooks from outside: made, sent with a stopwatch, and followed to their effect."""
