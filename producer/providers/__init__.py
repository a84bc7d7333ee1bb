"""One small pure module per provider; registered in `registry`."""
