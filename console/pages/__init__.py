"""The pages, one module each: what is asked of the stores, and how it is put for people."""
