"""hookline.yaml: its models, how it is read, and its reference."""
