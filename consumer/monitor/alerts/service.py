"""The monitor's alerting: scrape, evaluate, keep, tell; one thread, every few seconds.

Of several monitors on one store one does that (`turns`), and the others scrape, to be ready. What a
store or a notifier cannot do now delays nothing else: it is tried again at the next look.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.alerts.delivery import Delivery
from consumer.monitor.alerts.grouping import Grouping, Patience
from consumer.monitor.alerts.rules import Rule, horizons_s
from consumer.monitor.alerts.scraping import Scraper
from consumer.monitor.alerts.series import SeriesStore
from consumer.monitor.alerts.silences import Silence
from consumer.monitor.alerts.states import Alert, State
from consumer.monitor.alerts.turns import Turns
from consumer.monitor.alerts.watch import Look, Watch
from schemas.errors import StoreError

log = logging.getLogger("hookline.alerts")

#: How long what is over is shown, and told to those who were told of it.
KEEP_RESOLVED_S: Final = 14 * 86_400
_TELL_RESOLVED_S: Final = 86_400
_EXPIRE_EVERY_S: Final = 3_600
#: A monitor that has not looked for so long, or for so many looks, has lost its turn.
_LOST_AFTER_S: Final = 45.0
_LOST_AFTER_LOOKS: Final = 4


class AlertService:
    """From `start` to `stop`; `look` by hand in tests."""

    def __init__(
        self,
        *,
        rules: Sequence[Rule],
        scraper: Scraper,
        store: AlertStore,
        delivery: Delivery,
        environment: str,
        name: str = "monitor",
        patience: Patience | None = None,
        runbook_url: str = "",
        every_s: float = 15.0,
        max_series: int = 20_000,
        scraped: Callable[[SeriesStore, int], None] | None = None,
        also_s: Mapping[str, int] | None = None,
        clock_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` tells it from other monitors on the same store, and is the same after a restart.

        `scraped` is told of each scrape and its time (Unix ms); `also_s`: metrics that it needs
        beside those of the rules, and for how many seconds.
        """
        self.series = SeriesStore({**(also_s or {}), **horizons_s(rules)}, max_series)
        self._scraped = scraped
        self.scraper = scraper
        self.delivery = delivery
        self._rules = rules
        self._environment = environment
        self._patience = patience or Patience()
        self._runbook_url = runbook_url
        self._store = store
        self._every_s = every_s
        self._clock_s = clock_s
        self._started_ms = int(clock_s() * 1000)
        lost_after_s = max(_LOST_AFTER_S, _LOST_AFTER_LOOKS * every_s)
        self._turns = Turns(store, name, lost_after_s, monotonic_s)
        #: None while another monitor has the turn.
        self._watch: Watch | None = None
        self._grouping = Grouping(environment, self._patience)
        #: Resolved lately: those who were told that they fire are told that they are over.
        self._over: list[Alert] = []
        self._silences: list[Silence] = []
        #: The store has missed something: it gets all that there is.
        self._behind = False
        self._store_failing = False
        self._expire_at_ms = self._started_ms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hookline-alerts", daemon=True)

    def start(self) -> None:
        """Start the thread, and the notifiers'."""
        self.delivery.start()
        self._thread.start()

    def stop(self) -> None:
        """End after the look in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self.delivery.stop()
        self.scraper.close()
        self._attempt(self._turns.give_back)
        self._store.close()

    def counts(self) -> Counter[tuple[str, str, str]]:
        """How many alerts there are, by rule, severity and state; none in another's turn."""
        watch = self._watch
        alerts = [] if watch is None else watch.alerts
        return Counter((a.rule, a.severity, a.state.value) for a in alerts)

    def look(self) -> None:
        """Scrape, and in our turn evaluate, keep, tell."""
        at_ms = int(self._clock_s() * 1000)
        self.scraper.scrape(self.series, at_ms)
        scraped = self._scraped
        if scraped is not None:
            self._attempt(lambda: scraped(self.series, at_ms))
        watch = self._in_turn(at_ms)
        if watch is None:
            return
        # Scraping takes time: it is judged by when the samples were taken.
        look = watch.look(at_ms)
        self._over = [
            alert
            for alert in (*self._over, *look.changed)
            if alert.state is State.RESOLVED and alert.resolved_ms > at_ms - 1000 * _TELL_RESOLVED_S
        ]
        self._save(watch, look, at_ms)
        current = [*self._over, *watch.alerts]
        messages, groups = self._grouping.due(current, self._silences, at_ms)
        for message in messages:
            self.delivery.send(message)
        # After the sending: a crash in between tells it twice, and never not at all.
        self._attempt(lambda: self._store.put_groups(groups))

    def _in_turn(self, at_ms: int) -> Watch | None:
        """What to look with; None in another's turn."""

        def ask() -> None:
            if not self._turns.ours():
                if self._watch is not None:
                    log.warning(
                        "another monitor looks at the alerts and tells them now; this one was "
                        "away for too long, or two have the same name (host and monitor.listen)"
                    )
                self._watch = None
            elif self._watch is None:
                self._watch = self._begun(at_ms)
                log.info("this monitor looks at the alerts and tells them")

        self._attempt(ask)
        return self._watch

    def _begun(self, at_ms: int) -> Watch:
        """With what was known and told before, by this monitor or another."""
        known = self._store.alerts(at_ms - 1000 * _TELL_RESOLVED_S)
        self._store.drop([alert for alert in known if alert.state is State.PENDING])
        self._grouping = Grouping(self._environment, self._patience, self._store.groups())
        self._over = [alert for alert in known if alert.state is State.RESOLVED]
        self._behind = False
        # From the start, not from now: one that stood by has the samples to judge by.
        return Watch(
            self._rules,
            self.series,
            known=known,
            started_ms=self._started_ms,
            runbook_url=self._runbook_url,
        )

    def _save(self, watch: Watch, look: Look, at_ms: int) -> None:
        def save() -> None:
            if self._behind:
                current = watch.alerts
                keys = {alert.key for alert in current}
                self._store.drop([one for one in self._store.alerts() if one.key not in keys])
                self._store.put([*self._over, *current])
            # Dropped first: one that came to nothing may have begun again.
            self._store.drop(look.dropped)
            self._store.put(look.changed)
            self._silences = self._store.silences(at_ms)
            if at_ms >= self._expire_at_ms:
                self._expire_at_ms = at_ms + 1000 * _EXPIRE_EVERY_S
                self._store.expire(at_ms - 1000 * KEEP_RESOLVED_S)
                self.series.forget_old(at_ms)

        self._behind = not self._attempt(save)

    def _attempt(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except StoreError as error:
            if not self._store_failing:
                self._store_failing = True
                log.warning(
                    "alerts cannot be kept now; they are told all the same",
                    extra={"data": {"detail": str(error)}},
                )
            return False
        self._store_failing = False
        return True

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            # From when it was due, so that samples are evenly apart; a late one is not made up.
            due_s = max(due_s + self._every_s, time.monotonic())
            try:
                self.look()
            # The thread's top: one look that fails must not end the alerting.
            except Exception:
                log.exception("a look at the alerts failed; the next one comes")
