"""Where effects, seen ids and progress commit together: one contract, an adapter per database."""
