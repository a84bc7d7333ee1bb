"""For every packaged rule a fault that makes it fire, and how long to look before and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.alerts.plant import DAY_S, Fault


class Scenario(NamedTuple):
    """Well for `warm_s`, broken for `fault_s`, well again for `after_s`; one sample in `step_s`."""

    rule: str
    what: str
    fault: Callable[[float], Fault]
    step_s: int = 15
    warm_s: int = 1_800
    fault_s: int = 1_800
    after_s: int = 3_600


def _is(**values: object) -> Callable[[float], Fault]:
    return lambda now_s: Fault(**values)  # type: ignore[arg-type]


_DAY_BEFORE: Final = {"step_s": 60, "warm_s": DAY_S + 7_200, "fault_s": 5_400, "after_s": 5_400}
#: As in a test of the rules: long windows, coarse steps.
_BURN: Final = {"step_s": 300, "warm_s": 3 * DAY_S, "fault_s": DAY_S, "after_s": DAY_S}

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("HooklineProcessDown", "kill a gateway", _is(down={"g2"}), fault_s=600),
    Scenario(
        "HooklineSignaturesRefused",
        "one forgery for each two webhooks",
        _is(forged_per_s={"acme-github": 0.12}),
    ),
    Scenario("HooklineNothingVerifies", "break a secret", _is(broken_secret={"acme-github"})),
    Scenario("HooklineUnknownConnections", "a scan, 1 a second", _is(unknown_per_s=1.0)),
    Scenario("HooklineGatewayErrors", "answer one in ten 503", _is(error_share=0.1)),
    Scenario("HooklineAckSlow", "Kafka acknowledges after 2 s", _is(ack_factor=300.0)),
    Scenario(
        "HooklineAckDegraded", "acknowledge 30 times more slowly", _is(ack_factor=30.0),
        **_DAY_BEFORE,
    ),
    Scenario("HooklineSpoolInUse", "stop Kafka", _is(kafka_away=True)),
    Scenario("HooklineSpoolOld", "stop Kafka", _is(kafka_away=True), fault_s=2_700),
    Scenario("HooklineSpoolRefused", "Kafka refuses a spooled event", _is(spool_refused=1)),
    Scenario("HooklineOrderBroken", "drain in the wrong order", _is(overtaken_per_s=0.05),
             after_s=7_200),
    Scenario("HooklineConnectionNotServed", "delete a secret", _is(unserved=1)),
    Scenario("HooklineConnectionsBehind", "the topic cannot be read", _is(connections_age_s=900.0)),
    Scenario("HooklineQuarantined", "send what cannot be read", _is(quarantined_per_s=0.05)),
    Scenario("HooklineRateLimited", "refuse a fifth by rate", _is(limited_share={"acme-shop": 0.2}),
             fault_s=2_700),
    Scenario("HooklineSecretBackendSilent", "seal the Vault", _is(backend_away=True)),
    Scenario(
        "HooklineSecretExpiring",
        "the last secret ends in 7 days less an hour",
        lambda now_s: Fault(secrets_end_s={"acme-shop": 1_800.0 + 7 * DAY_S - 3_600}),
    ),
    Scenario(
        "HooklineSecretEndsToday",
        "the last secret ends in 23 hours",
        lambda now_s: Fault(secrets_end_s={"acme-shop": 1_800.0 + 23 * 3_600}),
    ),
    Scenario("HooklineConnectionSilent", "silence a connection", _is(silent={"globex-stripe"}),
             fault_s=3_600),
    Scenario("HooklineLag", "stop the consumer's work", _is(stopped=True)),
    Scenario("HooklineConsumerStalled", "the store does not commit", _is(stopped=True)),
    Scenario("HooklineEventErrors", "one call in five fails", _is(handler_failures=0.2)),
    Scenario(
        "HooklineLatencyDegraded", "handlers 60 times slower", _is(apply_factor=60.0), **_DAY_BEFORE
    ),
    Scenario("HooklineDeadLetters", "a dead letter every 50 s", _is(dead_per_s=0.02)),
    Scenario("HooklineKeysParked", "three keys fail for good", _is(parked=3)),
    Scenario("HooklineKeysParkedMany", "500 keys fail", _is(parked=500)),
    Scenario("HooklineWorkerRestarts", "a worker dies every 100 s",
             _is(worker_restarts_per_s=0.01)),
    Scenario("HooklineReceivingFast", "answer one in ten 503", _is(error_share=0.1),
             step_s=60, warm_s=7_200, fault_s=3_600, after_s=10_800),
    Scenario("HooklineReceivingSlow", "answer one in 200 503", _is(error_share=0.005), **_BURN),
    Scenario("HooklineFreshnessFast", "half the commits are late", _is(late_share=0.5),
             step_s=60, warm_s=7_200, fault_s=3_600, after_s=10_800),
    Scenario("HooklineFreshnessSlow", "one commit in 20 is late", _is(late_share=0.05), **_BURN),
)  # fmt: skip
