"""Where the long-lived processes are wired together from settings."""
