"""Puts records on Kafka and says when they are safe."""
