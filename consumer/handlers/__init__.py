"""How a user's functions are registered and found."""
