"""The commands of `hookline`, one module each, and what they share."""
