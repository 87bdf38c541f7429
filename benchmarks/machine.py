"""The machine in neutral words, and who uses its processors while something is measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubernaut_testing.process import usage_of


def describe() -> dict[str, str | float]:
    """What a reader needs to judge the figures, and nothing that names the machine."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.split()[1]) / 1024**2, 1),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


@dataclass(frozen=True)
class Clocks:
    """CPU seconds spent so far, by name of process and by the whole machine, at one moment of the monotonic clock."""

    time: float
    machine: float
    processes: Mapping[str, float]

    @classmethod
    def read(cls, pids: Mapping[str, Sequence[int]]) -> Clocks:
        """Read them; `pids` are processes by name (summed), to which this process is added as "bench"."""
        processes = {}
        for name, each in {**pids, "bench": [os.getpid()]}.items():
            usages = [usage_of(pid) for pid in each]
            processes[name] = sum(usage.user + usage.system for usage in usages)
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return cls(time.monotonic(), busy, processes)

    def spent(self, name: str, before: Clocks) -> float:
        """CPU seconds of one process since `before`."""
        return self.processes[name] - before.processes[name]

    def others(self, before: Clocks) -> float:
        """Processors that programs other than those named kept busy since `before`, on average."""
        named = sum(self.spent(name, before) for name in self.processes)
        return max(0.0, self.machine - before.machine - named) / (self.time - before.time)
