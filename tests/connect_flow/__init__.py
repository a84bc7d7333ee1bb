"""The whole connect flow: real console, gateways, Kafka and browser; vendors of tests/vendors."""
