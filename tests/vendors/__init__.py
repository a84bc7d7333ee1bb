"""Local HTTPS servers that behave as a vendor's documentation says, and misbehave when told to."""
