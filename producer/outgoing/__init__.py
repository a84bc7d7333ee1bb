"""Requests to addresses that customers wrote: to nowhere inside, bounded in size and time."""
