"""The demo's chapters, in the order in which they are told: one module a service, whose class says what is its own.

notification       notifications delivered, retried, refused
signalprocessing   signals enriched and classified, and a policy changed meanwhile
targets            the workloads that those signals are about
"""

from __future__ import annotations

from typing import Any

from demo.chapter import Chapter
from demo.chapters.notification import Notifications
from demo.chapters.signalprocessing import Signals

__all__ = ["CHAPTERS"]

CHAPTERS: tuple[type[Chapter[Any]], ...] = (Signals, Notifications)
"""A further service adds its class here."""
