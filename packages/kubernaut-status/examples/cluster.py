"""What the examples share: the widget resource, and a client from API_SERVER, API_TOKEN and API_CA_FILE."""

import os
import ssl

from kubernaut_status import PhaseMachine, Resource
from kubernaut_status.aiohttp_client import AiohttpClient

WIDGETS = Resource("paint.example.com", "v1", "widgets", "Widget")
PHASES = PhaseMachine({"": {"Pending"}, "Pending": {"Painting"}, "Painting": {"Done", "Failed"}})


def connect() -> AiohttpClient:
    """A client for the cluster that the environment names."""
    return AiohttpClient(
        os.environ["API_SERVER"],
        ssl=ssl.create_default_context(cafile=os.environ["API_CA_FILE"]),
        token=lambda: os.environ["API_TOKEN"],
        user_agent="widget-painter/1.0",
    )
