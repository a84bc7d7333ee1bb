"""What crosses a process boundary, and nothing else: pure data and codecs, no I/O."""
