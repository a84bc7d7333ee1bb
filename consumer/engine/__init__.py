"""The threads around the core: poll, dispatch, group commit, external handlers, draining."""
