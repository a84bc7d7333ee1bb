"""This machine: ports, the spool's disk, open files, and where traces go."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from hookline.doctor.findings import Finding, broken, ok, warning
from hookline.settings.loading import Settings

_TIMEOUT_S: Final = 2.0
#: Besides connections: Kafka's sockets, files, the event loop.
_OTHER_FILES: Final = 256
#: What the disk of a spool needs for each of its bytes: pages and the write-ahead log.
_SPOOL_SHARE: Final = 1.5


def ports(settings: Settings) -> Iterator[Finding]:
    """Each address that a process listens on: free, ours, or somebody else's."""
    gateway, consumer = settings.gateway, settings.consumer
    wanted = {"gateway.listen": gateway.listen, "consumer.listen": consumer.listen}
    wanted |= {
        "console.listen": settings.console.listen,
        "monitor.listen": settings.monitor.listen,
        "probe.listen": settings.probe.listen,
    }
    if gateway.workers > 1:
        wanted["gateway.admin_listen"] = gateway.admin_listen
    by_address: dict[str, str] = {}
    for setting, address in wanted.items():
        port = address.rpartition(":")[2]
        if other := by_address.get(port):
            yield broken("ports", f"{setting} and {other} are both port {port}", "choose another")
        by_address[port] = setting
        yield _port(setting, address)


def _port(setting: str, address: str) -> Finding:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    # Any address of ours is looked at by the loopback; one of its own only by itself.
    target = "127.0.0.1" if host in ("", "0.0.0.0", "::", "*") else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host if host != "*" else "", int(port)))
        return ok("ports", f"{setting} {address} is free: that process does not run here")
    except PermissionError:
        return broken(
            "ports", f"{setting} {address} may not be listened on", "choose a port above 1023"
        )
    except OverflowError:
        return broken("ports", f"{setting} {address} is no port", "write one up to 65535")
    except OSError as error:
        shown = f"[{target}]" if ":" in target else target
        try:
            answer = httpx.get(f"http://{shown}:{port}/livez", timeout=_TIMEOUT_S)
            status = answer.json().get("status")
        except (httpx.HTTPError, ValueError, AttributeError):
            status = None
        if status == "ok":
            return ok("ports", f"{setting} {address}: a Hookline process answers and is well")
        if status is not None:
            return broken(
                "ports",
                f"{setting} {address}: a Hookline process answers, and /livez fails",
                f"curl http://{shown}:{port}/livez says why",
            )
        return broken(
            "ports",
            f"{setting} {address} cannot be listened on ({error.strerror or 'no such name'}), and "
            "no Hookline process answers there",
            "stop what uses it, or choose another address",
        )


def spool(settings: Settings) -> Iterator[Finding]:
    """Whether there is one, where it can be written, and room for it."""
    path, workers = settings.spool.path, settings.gateway.workers
    if path is None:
        yield warning(
            "spool",
            "there is none: while Kafka is away webhooks are answered 503",
            "write spool.path, a file on a local disk (docs/operations.md)",
        )
        return
    folder = Path(path).parent
    there = folder
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        yield broken("spool", f"{folder} cannot be written", "give the gateway's user the folder")
        return
    free = shutil.disk_usage(there).free
    needed = int(settings.spool.max_bytes * workers * _SPOOL_SHARE)
    if free < needed:
        yield warning(
            "spool",
            f"{folder} has {_gb(free)} free, and a full spool needs {_gb(needed)}",
            "make room, or lower spool.max_bytes",
        )
    else:
        yield ok("spool", f"{folder} can be written and has {_gb(free)} free")


def files(settings: Settings) -> Iterator[Finding]:
    """Whether so many connections may be open at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.gateway.max_connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        yield warning(
            "files",
            f"a process here may open {soft} files, and gateway.max_connections asks for {wanted}",
            f"ulimit -n {wanted}, LimitNOFILE={wanted} of the unit, or a lower max_connections",
        )
    else:
        yield ok("files", f"a process here may open {soft} files")


def traces(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether somebody listens where spans are sent."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    if not endpoint:
        yield ok("traces", "none are sent: OTEL_EXPORTER_OTLP_ENDPOINT is not set")
        return
    # Not shown beyond its host: it may hold a password.
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 4318)
        with socket.create_connection((host, port), timeout=_TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        yield warning(
            "traces",
            f"nobody listens at OTEL_EXPORTER_OTLP_ENDPOINT ({type(error).__name__})",
            "spans are lost, webhooks are not: start the collector, or mend the address",
        )
        return
    yield ok("traces", f"a collector listens at {host}:{port}")


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
