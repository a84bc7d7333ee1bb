"""All that takes events out: the ordering core, the engine around it, stores and handlers."""
