"""Reads the processes' /metrics into series, as a Prometheus would."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from consumer.monitor.alerts.exposed import UP
from consumer.monitor.alerts.series import Sample, SeriesStore, labels_of

log = logging.getLogger("hookline.alerts")

MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
#: What the series store calls the page of the process itself.
OWN_PAGE: Final = "own"
_AT_ONCE: Final = 8


class ScrapeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One process's page; `instance` tells it from others of its job."""

    url: str
    job: str
    instance: str

    @property
    def labels(self) -> dict[str, str]:
        """What every sample of it is labelled with."""
        return {"job": self.job, "instance": self.instance}


class Scraper:
    """Scrapes every target; counts what came of it. From one thread at a time."""

    def __init__(
        self,
        targets: Sequence[ScrapeTarget],
        timeout_s: float = 5.0,
        own: tuple[str, str, Callable[[], bytes]] | None = None,
    ) -> None:
        """`own`: job, instance and page of the process that this runs in."""
        self._targets = tuple(targets)
        self._own = own
        #: By job, and `ok` or `failed`.
        self.results: dict[tuple[str, str], int] = {}
        self._failing: set[str] = set()
        # No proxies of the environment: these are our own processes.
        self._client = httpx.Client(
            timeout=timeout_s, trust_env=False, headers={"accept": "text/plain; version=0.0.4"}
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE, "hookline-scrape")

    def scrape(self, store: SeriesStore, at_ms: int) -> None:
        """Every page into the store, all at the same time of `at_ms`."""
        pages = self._pool.map(lambda target: self._page(target, store.metrics), self._targets)
        for target, samples in zip(self._targets, pages, strict=True):
            up = Sample(UP, labels_of(target.labels), 0.0 if samples is None else 1.0)
            store.add(target.url, [*(samples or ()), up], at_ms)
            result = "failed" if samples is None else "ok"
            key = (target.job, result)
            self.results[key] = self.results.get(key, 0) + 1
        if self._own is not None:
            job, instance, page = self._own
            labels = {"job": job, "instance": instance}
            text = page().decode("utf-8", "replace")
            up = Sample(UP, labels_of(labels), 1.0)
            store.add(OWN_PAGE, [*parsed(text, labels, store.metrics), up], at_ms)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _page(self, target: ScrapeTarget, wanted: frozenset[str]) -> list[Sample] | None:
        try:
            text = self._fetched(target.url)
            samples = list(parsed(text, target.labels, wanted))
        except (httpx.HTTPError, ValueError) as error:
            if target.url not in self._failing:
                self._failing.add(target.url)
                log.warning(
                    "a process's metrics cannot be read; it counts as down",
                    extra={"data": {**target.labels, "reason": str(error) or type(error).__name__}},
                )
            return None
        self._failing.discard(target.url)
        return samples

    def _fetched(self, url: str) -> str:
        with self._client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise ValueError(f"it answered {answer.status_code}")
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > MAX_PAGE_BYTES:
                    raise ValueError(f"its page is over {MAX_PAGE_BYTES} bytes")
        return body.decode("utf-8", "replace")


def parsed(text: str, labels: Mapping[str, str], wanted: frozenset[str]) -> Iterator[Sample]:
    """The samples of a page that are of wanted metrics; ValueError for a page that is none.

    The target's labels are added; a sample's own of the same name is kept as `exported_…`.
    """
    lines = [
        line
        for line in text.splitlines()
        # The parser is slow, and most lines are of no rule.
        if line.startswith("# TYPE") or line.partition("{")[0].partition(" ")[0] in wanted
    ]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            own = {
                f"exported_{name}" if name in labels else name: value
                for name, value in sample.labels.items()
            }
            yield Sample(sample.name, labels_of({**own, **labels}), float(sample.value))
