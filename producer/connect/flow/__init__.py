"""The flow as a state machine: what is given and what is to be done as values, no I/O."""
