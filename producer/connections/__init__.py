"""The connections topic: who writes it, and how every gateway follows it."""
