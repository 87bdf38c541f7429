"""Mounted files that are wrong, rotated, gone or unreadable, and a disk that takes nothing: no half measures."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenarios.faults.files import BadFile, assert_bad_files_are_told, reloads
from scenarios.notification import CONTRACT, NotificationSite

from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import assert_invariants, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]


def deliver(site: NotificationSite, ledger: RequestLedger, name: str, to: str = "slack", **spec: Any) -> dict[str, Any]:
    """Create, wait for the end, check all invariants; the final status."""
    site.create(name, to, **spec)
    eventually(lambda: site.ended(name))
    effects = site.effects(name)
    rotated = [("slack:slack", 1) for r in site.receiver.to("/rotated") if name in r.body.decode()]
    assert_invariants(ledger, site.ref(name), CONTRACT, effects=[*effects, *rotated])
    return site.status(name)


def stalled(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Stalled" and c["status"] == "True" for c in status["conditions"])


def test_a_secret_is_followed_while_it_is_rotated_unreadable_removed_and_returned(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 33: the last value that could be read stays in use; a removed one ends notifications, not the process."""
    secret = site.credentials / "slack"
    original = secret.read_text()
    assert deliver(site, ledger, "before")["phase"] == "Sent"

    replace_file(secret, f"{site.receiver.url}/rotated\n")
    assert deliver(site, ledger, "rotated")["phase"] == "Sent"
    assert len(site.receiver.to("/rotated")) == 1

    replace_file(secret, b"\xff\xfe\x00 not text")
    assert deliver(site, ledger, "garbled")["phase"] == "Sent"
    secret.unlink()
    secret.mkdir()  # a mount of the wrong kind; unreadable also to root
    assert deliver(site, ledger, "unreadable")["phase"] == "Sent"
    assert len(site.receiver.to("/rotated")) == 3

    secret.rmdir()
    status = deliver(site, ledger, "removed")
    assert status["phase"] == "Failed"
    assert stalled(status)
    (attempt,) = status["deliveryAttempts"]
    assert "put it into the credential file 'slack'" in attempt["error"]
    assert deliver(site, ledger, "beside", "console")["phase"] == "Sent"

    replace_file(secret, original)
    assert deliver(site, ledger, "returned")["phase"] == "Sent"
    assert len(site.receiver.to("/slack")) == 2
    assert site.receiver.url not in site.deployment.process.log.read_text(), "a webhook's URL is a secret"
    assert_survived(site.deployment.process)


def test_bad_config_and_routing_files_keep_the_last_good_and_are_told_by_metric_and_event(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 34: deliveries go on by what was good; each bad file is counted and told on the own Pod."""
    deployment, config = site.deployment, site.deployment.config_file
    good_config, good_routing = config.read_text(), site.routing.read_text()

    bad: list[BadFile] = [
        (config, good_config + "logging: {level: LOUD}\n", "logging.level"),
        (config, b"controller: [\xff", "UTF-8"),
        (site.routing, "route: {receiver: nobody}\nreceivers: []\n", "name at least one receiver"),
        (site.routing, "route: [", str(site.routing)),
        (site.routing, good_routing.replace("credentialRef: slack", "credentialRef: missing"), "missing"),
    ]

    def works(number: int) -> None:
        status = deliver(site, ledger, f"bad-{number}", "nobody-in-particular")
        assert {a["channel"] for a in status["deliveryAttempts"]} == {"slack:all", "console", "file"}

    assert_bad_files_are_told(site, bad, works)
    replace_file(config, yaml.safe_dump({**yaml.safe_load(good_config), "logging": {"level": "DEBUG"}}))
    site.write_routing(default="console")
    eventually(lambda: reloads(site, config, "ok") == reloads(site, site.routing, "ok") == 1)
    status = deliver(site, ledger, "good", "nobody-in-particular")
    assert {a["channel"] for a in status["deliveryAttempts"]} == {"console"}
    assert_survived(deployment.process)


@contextmanager
def no_file_larger_than(process: int, size: int) -> Iterator[None]:
    """The disk takes so many bytes of a file and then no more, as a full one does in the middle of a write."""
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_file_is_tried_again_and_never_holds_half_a_file(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 38: full in the middle of a file, then read-only; retryable both, other channels are not concerned."""
    output, away = site.output, site.output.with_name("away")
    faults: dict[str, Callable[[], Any]] = {
        "full": lambda: no_file_larger_than(site.deployment.process.pid, 200_000),
        "read-only": lambda: read_only(output, away),
    }
    for what, fault in faults.items():
        with fault():
            site.create(what, "all", body="x" * 300_000)
            status = eventually(lambda what=what: (s := site.status(what)).get("totalAttempts", 0) >= 4 and s)
            assert status["phase"] == "Retrying", "Slack and console have it"
            failed = [a for a in status["deliveryAttempts"] if a["status"] == "failed"]
            assert {a["channel"] for a in failed} == {"file"}
            assert all("failed to write temporary file" in a["error"] for a in failed)
            assert not any("permanent" in a["error"] for a in failed)
            assert [path for path in output.parent.glob(f"*/*{what}*") if path.is_file()] == [], "not even a part"
        eventually(lambda what=what: site.ended(what))
        assert site.phase(what) == "Sent"
        (file,) = site.files(what)
        assert len(json.loads(file.read_text())["spec"]["body"]) == 300_000
        assert_invariants(ledger, site.ref(what), CONTRACT, effects=site.effects(what))
    assert not list(output.glob("*.tmp"))
    assert_survived(site.deployment.process)


@contextmanager
def read_only(output: Path, away: Path) -> Iterator[None]:
    """In the folder's place, one that takes new files from nobody, root included."""
    output.rename(away)
    output.symlink_to("/sys/kernel")
    try:
        yield
    finally:
        output.unlink()
        away.rename(output)
