"""Charts as SVG, drawn on the server. Rule: a chart shows what its table says, and nothing else."""
