"""The consumer beside Quix Streams and FastStream, and what its lanes and stores can do."""
