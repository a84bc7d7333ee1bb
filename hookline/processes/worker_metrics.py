"""Pages of metrics of several workers as one: each sample says whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def labelled(page: bytes, worker: int) -> bytes:
    """Prometheus' text format with a label `worker` on every sample."""
    lines = []
    for line in page.splitlines():
        if line and not line.startswith(b"#"):
            name, brace, rest = line.partition(b"{")
            if brace and b" " not in name:
                line = b'%b{worker="%d",%b' % (name, worker, rest)
            else:
                name, _, value = line.partition(b" ")
                line = b'%b{worker="%d"} %b' % (name, worker, value)
        lines.append(line)
    return b"\n".join(lines) + b"\n"


def merged(pages: Iterable[bytes]) -> bytes:
    """One page, the samples of each metric together, as the format wants it."""
    families: dict[bytes, tuple[list[bytes], list[bytes]]] = {}
    for page in pages:
        family = families.setdefault(b"", ([], []))
        for line in page.splitlines():
            if line.startswith((b"# HELP ", b"# TYPE ")):
                heads, _ = family = families.setdefault(line.split(b" ", 3)[2], ([], []))
                if line not in heads and len(heads) < 2:
                    heads.append(line)
            elif line:
                family[1].append(line)
    return b"".join(
        line + b"\n" for heads, samples in families.values() for line in (*heads, *samples)
    )


def gauge(name: str, help_text: str, values: Mapping[int, float], kind: str = "gauge") -> bytes:
    """A page of one metric with a value for each worker."""
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
    lines += [f'{name}{{worker="{worker}"}} {value}' for worker, value in values.items()]
    return "\n".join(lines).encode() + b"\n"
