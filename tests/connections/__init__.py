"""The connections topic: who writes it, and how gateways follow it."""
