"""The HTTP receiver: reads, verifies, identifies, publishes, answers."""
