"""What an operator process needs around kopf, and nothing that one operator only needs.

| for | use |
|---|---|
| the process: flags, start, watch over, end | `run_operator`, `Operator`, `Runtime`, `StartError` |
| the watches and what they know | `WatchEngine`, `Store`, `Sweep`, `HistoryRewoundError` |
| the work | `Controller`, `Reconciler`, `Result`, `DONE`, `AGAIN`, `leave_worker`, `WorkQueue`, `Priority`, `Backoff` |
| what a controller knows beside the status | `Objects`, `Memories`, `News` |
| time | `Clock`, `SystemClock` |
| configuration | `ControllerConfig`, `load_config`, `ConfigError`, `Duration`, `PositiveDuration` |
| files that change | `FileWatcher`, `ReloadMetrics` |
| the API server | `Connection`, `ConnectError` |
| who of several works | `LeaderElector` |
| what others ask | `ProbeServer`, `Checks`, `LoopMonitor`, `Lifecycle`, `new_registry` |
| what others read | `EventRecorder`, `ObjectReference`, `setup_logging`, `set_level` |

Importing the package is cheap; kopf and the `kubernetes` package are loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Operator, run_operator
    from .backoff import Backoff
    from .clock import Clock, SystemClock
    from .config import ConfigError, LoadedConfig, load_config
    from .connection import ConnectError, Connection
    from .controller import AGAIN, DONE, Controller, Reconciler, Result, leave_worker
    from .durations import Duration, PositiveDuration, format_duration, parse_duration
    from .engine import WatchEngine
    from .events import EventRecorder, ObjectReference
    from .flags import StartError
    from .leader import LeaderElector
    from .lifecycle import Lifecycle
    from .logs import set_level, setup_logging
    from .memory import Memories, News, Objects
    from .metrics import new_registry
    from .probes import Checks, LoopMonitor, ProbeServer
    from .queue import Priority, WorkQueue
    from .reload import FileWatcher, ReloadMetrics
    from .runtime import Runtime
    from .sections import ConfigModel, ControllerConfig
    from .store import Store
    from .sweep import HistoryRewoundError, Sweep

_HOMES = {
    "app": ("Operator", "run_operator"),
    "backoff": ("Backoff",),
    "clock": ("Clock", "SystemClock"),
    "config": ("ConfigError", "LoadedConfig", "load_config"),
    "connection": ("ConnectError", "Connection"),
    "controller": ("AGAIN", "DONE", "Controller", "Reconciler", "Result", "leave_worker"),
    "durations": ("Duration", "PositiveDuration", "format_duration", "parse_duration"),
    "engine": ("WatchEngine",),
    "events": ("EventRecorder", "ObjectReference"),
    "flags": ("StartError",),
    "leader": ("LeaderElector",),
    "lifecycle": ("Lifecycle",),
    "logs": ("set_level", "setup_logging"),
    "memory": ("Memories", "News", "Objects"),
    "metrics": ("new_registry",),
    "probes": ("Checks", "LoopMonitor", "ProbeServer"),
    "queue": ("Priority", "WorkQueue"),
    "reload": ("FileWatcher", "ReloadMetrics"),
    "runtime": ("Runtime",),
    "sections": ("ConfigModel", "ControllerConfig"),
    "store": ("Store",),
    "sweep": ("HistoryRewoundError", "Sweep"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AGAIN",
    "DONE",
    "Backoff",
    "Checks",
    "Clock",
    "ConfigError",
    "ConfigModel",
    "ConnectError",
    "Connection",
    "Controller",
    "ControllerConfig",
    "Duration",
    "EventRecorder",
    "FileWatcher",
    "HistoryRewoundError",
    "LeaderElector",
    "Lifecycle",
    "LoadedConfig",
    "LoopMonitor",
    "Memories",
    "News",
    "ObjectReference",
    "Objects",
    "Operator",
    "PositiveDuration",
    "Priority",
    "ProbeServer",
    "Reconciler",
    "ReloadMetrics",
    "Result",
    "Runtime",
    "StartError",
    "Store",
    "Sweep",
    "SystemClock",
    "WatchEngine",
    "WorkQueue",
    "format_duration",
    "leave_worker",
    "load_config",
    "new_registry",
    "parse_duration",
    "run_operator",
    "set_level",
    "setup_logging",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
