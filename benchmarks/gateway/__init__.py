"""The gateway beside the same job on FastAPI, uvicorn and aiokafka, and beside a constant."""

from benchmarks.gateway.comparison import run

__all__ = ["run"]
