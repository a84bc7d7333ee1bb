"""What was given up on: its way to the topic of dead letters."""
