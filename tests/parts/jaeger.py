"""A real Jaeger v2, all in memory, built from its Go module: OTLP in, its query API out.

The build takes some minutes, so nothing starts it but `make parts-jaeger`, which CI calls; a test
without it skips. The web UI is not in the module: the API only.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx

from tests.parts.cache import PartMissing, built, cache_dir
from tests.parts.go_module import build_module
from tests.parts.process import Process, free_port

#: The v1 tag of the module holds v2, too.
VERSION = "1.76.0"
_MODULE = f"github.com/jaegertracing/jaeger@v{VERSION}"
_CONFIG = """\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], processors: [], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: 100000}}}}
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{otlp}"}}
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
"""


def jaeger_binary() -> Path:
    """The built server; PartMissing, with the command that builds it, if it is not there."""
    binary = cache_dir() / f"jaeger-{VERSION}" / "jaeger"
    if not binary.exists():
        raise PartMissing("a real Jaeger is built from source, once: make parts-jaeger (3-10 min)")
    return binary


def build_jaeger() -> Path:
    """The server, built first if it is not there; PartMissing if it cannot be."""
    return built(f"jaeger-{VERSION}", _build) / "jaeger"


def _build(folder: Path) -> None:
    build_module(_MODULE, "./cmd/jaeger", folder / "jaeger")


class JaegerServer:
    """One server in memory: `otlp` takes spans, `query` answers questions."""

    def __init__(self) -> None:
        self._binary = jaeger_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-jaeger-"))
        otlp, self._query, self._query_grpc = free_port(), free_port(), free_port()
        self._otlp = otlp
        self.otlp = f"http://127.0.0.1:{otlp}"
        self.query = f"http://127.0.0.1:{self._query}"
        self._process: Process | None = None

    def __enter__(self) -> JaegerServer:
        config = self._folder / "jaeger.yaml"
        config.write_text(
            _CONFIG.format(otlp=self._otlp, query=self._query, query_grpc=self._query_grpc)
        )
        self._process = Process(
            [str(self._binary), "--config", str(config)],
            self._folder / "jaeger.log",
            cwd=self._folder,
            environ={"HOME": str(self._folder)},
        )
        self._process.wait_until(self._ready, "Jaeger")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            httpx.get(f"{self.otlp}/", timeout=2)
            return httpx.get(f"{self.query}/api/services", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of one trace in Jaeger's own JSON; none if it does not know the trace."""
        answer = httpx.get(f"{self.query}/api/traces/{trace_id}", timeout=20)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        traces: list[dict[str, Any]] = answer.json()["data"] or []
        return [span for trace in traces for span in trace["spans"]]


if __name__ == "__main__":
    try:
        print(f"part jaeger {VERSION}: {build_jaeger()}")
    except PartMissing as missing:
        raise SystemExit(f"part jaeger: missing. {missing}") from None
