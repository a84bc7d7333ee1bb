"""Does the time of a refusal tell where a wrong proof differs? Measured for every provider.

Run as `python -m benchmarks.gateway.timing [--samples N]`. Three kinds of wrong proofs are verified
in random order, of which the first, the middle or the last character differs from the right one; of
each there are many copies, since where an object lies in memory shows too. Of the fastest half
the means must be within `BOUND_NS` of each other with three standard errors to spare: a thousandth
of a network's jitter. A comparison that stops at the first difference is measured the same way, to
show that the test would see it.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from producer.providers.provider import Refused, Request
from tests.providers.http_request import NOW_S, RepeatableHeaders
from tests.providers.subjects import SUBJECTS, Subject

#: The most by which the means may differ.
BOUND_NS = 100
_KEPT = 0.5
_COPIES = 64
_ROUNDS = 5
_LONG = "0123456789abcdef0123456789abcdef0123456789abcdef"


def main() -> int:
    """Print a line for each provider; 0 if all are within the bound and the control is not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=20_000, help="of each of the three")
    samples = parser.parse_args().samples
    print(f"bound {BOUND_NS} ns, {samples} samples of each place, the fastest half of them")
    gc.disable()
    good = True
    for subject in SUBJECTS:
        good &= _within(subject.name, _verifications(subject), samples)
    seen = not _within("(leaky control)", _leaky(), samples)
    print("within the bound" if good else "OUTSIDE THE BOUND")
    print("the control is seen" if seen else "THE CONTROL IS NOT SEEN")
    return 0 if good and seen else 1


def _within(name: str, calls: Mapping[str, list[Callable[[], object]]], samples: int) -> bool:
    """Whether one of a few rounds is within: the machine's other work is not in all of them."""
    rounds, most_ns, gap_ns, mean_ns = 0, float("inf"), 0.0, 0.0
    while rounds < _ROUNDS and most_ns >= BOUND_NS:
        rounds += 1
        gap_ns, error_ns, mean_ns = _spread(calls, samples)
        most_ns = gap_ns + 3 * error_ns
    print(
        f"{name:15} mean {mean_ns:7.0f} ns  gap {gap_ns:6.1f} ns  at most {most_ns:6.1f} ns"
        f"  rounds {rounds}"
    )
    return most_ns < BOUND_NS


def _verifications(subject: Subject) -> Mapping[str, list[Callable[[], object]]]:
    secret = subject.secret
    if subject.name in ("gitlab-token", "graph", "ce-bearer", "token", "key"):
        # Of a token the place is in the secret: a long one, so that there is a middle.
        secret = _LONG
    elif subject.name == "basic":
        secret = f"user:{_LONG}"
    provider = subject.build()
    keys = [subject.key(provider, secret)]
    right = subject.request(provider, secret=secret)

    def call(place: str) -> Callable[[], object]:
        request = _wrong(subject, right, secret, place)
        assert isinstance(provider.verify(request, keys, NOW_S), Refused)
        return lambda: provider.verify(request, keys, NOW_S)

    return _copies(call)


def _copies(
    call: Callable[[str], Callable[[], object]],
) -> Mapping[str, list[Callable[[], object]]]:
    calls: dict[str, list[Callable[[], object]]] = {"first": [], "middle": [], "last": []}
    # In turns, so that no place has the better memory.
    for _ in range(_COPIES):
        for place, copies in calls.items():
            copies.append(call(place))
    return calls


def _wrong(subject: Subject, right: Request, secret: str, place: str) -> Request:
    if subject.proof is None:
        changed = _changed(secret, place).encode()
        return Request(right.headers, right.body.replace(secret.encode(), changed), right.query)
    headers = right.headers
    assert isinstance(headers, RepeatableHeaders)
    value = headers.get(subject.proof)
    if subject.name == "basic":
        built = subject.build()
        sent = built.sign(
            b"",
            built.load_key("user:" + _changed(_LONG, place)),
            event_id="",
            event_type="",
            now_s=0,
        )
        new = sent[subject.proof]
    else:
        # Behind what every proof of the scheme begins with, and before its padding.
        bare = value.rstrip("=")
        start = max(bare.rfind(mark) for mark in "=, ") + 1
        end = len(bare)
        new = value[:start] + _changed(value[start:end], place) + value[end:]
    pairs = [(n, new if n == subject.proof else v) for n, v in headers.pairs()]
    return Request(RepeatableHeaders(pairs), right.body, right.query)


def _changed(text: str, place: str) -> str:
    # The last character of base64 may hold bits that must be zero, so the one before it.
    at = {"first": 0, "middle": len(text) // 2, "last": len(text) - 2}[place]
    other = "1" if text[at] != "1" else "2"
    return text[:at] + other + text[at + 1 :]


def _leaky() -> Mapping[str, list[Callable[[], object]]]:
    def call(place: str) -> Callable[[], object]:
        wrong = _changed(_LONG, place)
        return lambda: all(a == b for a, b in zip(_LONG, wrong, strict=True))

    return _copies(call)


def _spread(
    calls: Mapping[str, list[Callable[[], object]]], samples: int
) -> tuple[float, float, float]:
    """The widest gap between two means, its standard error, and the mean of all."""
    draw = random.Random(7)
    order = [(place, draw.choice(calls[place])) for place in calls for _ in range(samples)]
    draw.shuffle(order)
    taken: dict[str, list[int]] = {place: [] for place in calls}
    clock = time.perf_counter_ns
    for _, call in order[:2000]:
        call()
    for place, call in order:
        began_ns = clock()
        call()
        taken[place].append(clock() - began_ns)
    kept = [sorted(times)[: int(len(times) * _KEPT)] for times in taken.values()]
    by_mean = sorted(kept, key=statistics.fmean)
    low, high = by_mean[0], by_mean[-1]
    gap_ns = statistics.fmean(high) - statistics.fmean(low)
    error_ns = (statistics.variance(low) / len(low) + statistics.variance(high) / len(high)) ** 0.5
    return gap_ns, error_ns, _mean(by_mean)


def _mean(groups: Sequence[Sequence[int]]) -> float:
    return statistics.fmean(value for group in groups for value in group)


if __name__ == "__main__":
    sys.exit(main())
