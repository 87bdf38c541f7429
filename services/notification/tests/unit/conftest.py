"""A notification to test with, times, and channels as the process builds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scenarios.channel_bench import Bench

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.registry import http_session
from kubernaut_testing.receivers import WebhookReceiver
from kubernaut_testing.smtp import SmtpReceiver

MakeNR = Callable[..., NotificationRequest]
MakeBench = Callable[..., Bench]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def make_nr() -> MakeNR:
    """Return a function that makes a notification; keywords are spec fields as on the wire, or metadata and status."""

    def make(*, metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any) -> Any:
        return NotificationRequest.model_validate(
            {
                "metadata": {"name": "nr-a", "namespace": "kubernaut-system", "uid": "u-1", "generation": 1}
                | (metadata or {}),
                "spec": {"type": "Simple", "priority": "Medium", "subject": "hello", "body": "world"} | spec,
                "status": status or {},
            }
        )

    return make


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture(scope="session")
def one_mail_server() -> Iterator[SmtpReceiver]:
    with SmtpReceiver(users={"ops": "pw-S3CRET-pw"}) as running:
        yield running


@pytest.fixture
def mail_server(one_mail_server: SmtpReceiver, monkeypatch: pytest.MonkeyPatch) -> SmtpReceiver:
    """A mail server with a user `ops`, whose certificate is trusted by the channels that are built after it."""
    one_mail_server.start()  # a test may have stopped it
    one_mail_server.clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(one_mail_server.ca_file))
    return one_mail_server


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """Return a function that makes a workbench; keywords are sections of `delivery` in the config file."""
    async with http_session() as session:
        yield lambda **delivery: Bench(tmp_path, session, **delivery)
