"""What `hookline doctor` looks at: each module gives findings, and none raises for what is away."""
