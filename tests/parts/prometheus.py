"""Prometheus and promtool, from the system's packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.parts.cache import PartMissing
from tests.parts.process import Process, free_port


def prometheus_binary(name: str = "prometheus") -> str:
    """A binary of the package; PartMissing if there is none."""
    found = shutil.which(name)
    if found is None:
        raise PartMissing("Prometheus is not installed: apt-get install prometheus")
    return found


def promtool(
    *arguments: str | Path, stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """What promtool says to these arguments."""
    done = subprocess.run(
        [prometheus_binary("promtool"), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class PrometheusServer:
    """One server that scrapes jobs; `rules` are files of rules that it evaluates."""

    def __init__(
        self,
        jobs: Mapping[str, Sequence[str]] | None = None,
        rules: Sequence[Path] = (),
        every: str = "1s",
    ) -> None:
        """`jobs`: host:port of the targets of each."""
        self._binary = prometheus_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-prometheus-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in (jobs or {}).items()
            ],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process: Process | None = None

    def __enter__(self) -> PrometheusServer:
        command = [
            self._binary,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        self._process = Process(command, self._folder / "log", cwd=self._folder)
        self._process.wait_until(self._ready, "Prometheus")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query; AssertionError with its error if it is none."""
        answer = self._get("/api/v1/query", query=promql)
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts."""
        found: list[dict[str, Any]] = self._get("/api/v1/alerts")["data"]["alerts"]
        return found

    def _get(self, path: str, **arguments: str) -> Any:
        query = urllib.parse.urlencode(arguments)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
