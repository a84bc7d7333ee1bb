"""`python -m tests.parts`: fetch and check the real parts; one line for each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tests.parts.browser import browser_and_axe
from tests.parts.cache import PartMissing
from tests.parts.jaeger import jaeger_binary
from tests.parts.kafka import VERSION, kafka_libs
from tests.parts.postgres import postgres_bin
from tests.parts.prometheus import prometheus_binary
from tests.parts.redis import redis_server
from tests.parts.vault import vault_binary

PARTS: dict[str, Callable[[], object]] = {
    "browser": browser_and_axe,
    "kafka": kafka_libs,
    "postgres": postgres_bin,
    "redis": redis_server,
    "prometheus": prometheus_binary,
    "jaeger": jaeger_binary,
    "vault": vault_binary,
}


def main() -> int:
    """0, or 1 if a part that HOOKLINE_REQUIRE_PARTS names cannot be had."""
    required = set(filter(None, os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(",")))
    failed = False
    for name, find in PARTS.items():
        try:
            where = find()
        except PartMissing as missing:
            failed |= name in required
            print(f"part {name}: missing. {missing}")
        else:
            version = f" {VERSION}" if name == "kafka" else ""
            print(f"part {name}{version}: {where}")
    if failed:
        print("A required part is missing (HOOKLINE_REQUIRE_PARTS).")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
