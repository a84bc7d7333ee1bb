"""What processes cost, with their threads and child processes, as the kernel counts it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_US_A_TICK: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_us(pid: int) -> int:
    """CPU time so far, in user mode and in the kernel; counted in ticks of 10 ms."""
    return _US_A_TICK * sum(sum(_times(process)[:2]) for process in _family(pid))


def others_cpu_us() -> int:
    """CPU time so far of all the machine that neither this benchmark nor what it started used."""
    busy = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    # user, nice, system, idle, iowait, irq, softirq, steal
    ticks = sum(map(int, busy[:8])) - int(busy[3]) - int(busy[4])
    ended = sum(_times(os.getpid())[2:])
    return (ticks - ended) * _US_A_TICK - cpu_us(os.getpid())


def peak_rss_bytes(pid: int) -> int:
    """The most memory that it has had resident; of several processes, the sum."""
    return _memory_bytes(pid, "VmHWM:")


def rss_bytes(pid: int) -> int:
    """The memory that it has resident now; of several processes, the sum."""
    return _memory_bytes(pid, "VmRSS:")


def _memory_bytes(pid: int, name: str) -> int:
    total = 0
    for process in _family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith(name):
                    total += int(line.split()[1]) * 1024
    return total


def _family(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        # A process or a thread of it may end meanwhile.
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _times(pid: int) -> list[int]:
    """User and system ticks of a process, then those of its children that it has waited for.

    All 0 of one that has ended since it was found: its parent's have them then.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0, 0, 0, 0]
    # After the name, which may hold anything: the state is field 3, utime 14.
    fields = stat.rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]
