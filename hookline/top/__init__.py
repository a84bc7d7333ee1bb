"""The live view in a terminal: pages of metrics, figures of them, and the screen."""
