"""Proxies from the environment, as rules and through a real one."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from scenarios.channel_bench import Bench, shown
from yarl import URL

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.proxies import proxy_for
from kubernaut_testing.receivers import WebhookReceiver

MakeNR = Callable[..., NotificationRequest]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("https://hooks.test/x", "http://secure:3128"),
        ("http://hooks.test/x", "http://plain:3128"),
        ("https://localhost/x", None),
        ("https://127.0.0.1:8443/x", None),
        ("https://[::1]/x", None),
        ("https://inside.test/x", None),
        ("https://a.inside.test/x", None),
        ("https://b.dotted.test/x", None),
        ("https://ported.test:8443/x", None),
        ("https://ported.test/x", "http://secure:3128"),
        ("https://notinside.test/x", "http://secure:3128"),
        ("https://10.1.2.3/x", None),
        ("https://11.1.2.3/x", "http://secure:3128"),
    ],
)
def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, address: str, proxy: str | None) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:3128")
    monkeypatch.setenv("HTTP_PROXY", "plain:3128")
    monkeypatch.setenv("NO_PROXY", "Inside.test, 10.0.0.0/8,.dotted.test,ported.test:8443")
    assert proxy_for(URL(address)) == (URL(proxy) if proxy else None)


def test_without_settings_and_with_a_star_the_way_is_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for(URL("https://hooks.test")) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(URL("https://hooks.test")) is None


@pytest.mark.parametrize("proxy", ["socks5://u:S3CRET@p:1", "http://", "http://[S3CRET"])
def test_what_is_no_proxy_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(RetryableError) as caught:
        proxy_for(URL("https://hooks.test"))
    assert caught.value.text.startswith("cannot use the proxy in HTTPS_PROXY")
    assert "S3CRET" not in shown(caught.value)


@pytest.fixture
def bench(make_bench: Callable[..., Bench], receiver: WebhookReceiver) -> Bench:
    return make_bench()


async def test_a_call_goes_through_the_proxy_with_the_proxys_password(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver plays the proxy."""
    monkeypatch.setenv("HTTP_PROXY", receiver.url.replace("//", "//us:pw@"))
    bench.route(webhookConfigs=[{"url": "http://hooks.test/x"}])
    assert await bench.attempt("webhook:ops", make_nr()) is None
    (request,) = receiver.requests
    assert request.headers["Host"] == "hooks.test"
    assert request.headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"us:pw").decode()


async def test_a_proxy_that_opens_no_tunnel_is_retryable_and_surely_not_delivered(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.default = 407
    monkeypatch.setenv("HTTPS_PROXY", receiver.url.replace("//", "//us:S3CRET@"))
    bench.route(webhookConfigs=[{"url": "https://hooks.test/S3CRET"}])
    error = await bench.attempt("webhook:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text.startswith("webhook request failed: the proxy does not connect: it answers ")
    assert not error.outcome_unknown
    assert "S3CRET" not in shown(error)


async def test_a_proxy_that_is_away_is_retryable(
    bench: Bench, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://us:S3CRET@127.0.0.1:{unused.getsockname()[1]}")
        bench.route(webhookConfigs=[{"url": "https://hooks.test/x"}])
        error = await bench.attempt("webhook:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "webhook request failed: cannot connect: Connection refused"
    assert "S3CRET" not in shown(error)


async def test_no_password_comes_from_a_netrc_file(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password S3CRET\n")
    monkeypatch.setenv("NETRC", str(netrc))
    bench.route(webhookConfigs=[{"url": receiver.url}])
    assert await bench.attempt("webhook:ops", make_nr()) is None
    assert "Authorization" not in receiver.requests[0].headers
