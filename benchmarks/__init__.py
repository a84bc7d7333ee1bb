"""Measures Hookline beside rivals, in one run, on the same cores and the same real Kafka."""
