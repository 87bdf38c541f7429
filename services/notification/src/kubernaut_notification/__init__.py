"""The Notification controller: delivers NotificationRequests, one status write per durable change."""

from importlib.metadata import version

__version__ = version("kubernaut-notification")
