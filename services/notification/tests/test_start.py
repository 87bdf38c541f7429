"""What ends the start of the program says so in lines with file, key and what to do, and in nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scenarios.notification import PROGRAM
from scenarios.starting import start_without_cluster

TO_SLACK = b"route: {receiver: a}\nreceivers: [{name: a, slackConfigs: [{credentialRef: hook}]}]"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read routing file {path}: No such file or directory; set ROUTING_CONFIG_PATH to the right one"),
        (b"\xff\xfe", "cannot load routing file {path}: it is not UTF-8; save it as UTF-8"),
        (
            b"route: {receiver: a}\nreceivers: [{name: b}]",
            "cannot load routing file {path}: route.receiver names 'a', which is not among the receivers; known are b",
        ),
        (
            TO_SLACK,
            "cannot load routing file {path}: no credential in /nowhere for credentialRef hook; "
            "add a file of that name or correct the reference",
        ),
    ],
)
def test_a_routing_file_that_cannot_be_used_ends_the_start_with_what_to_do(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """Weak point 12: one line, and a credential that is missing is named instead of failing each delivery for good."""
    path = tmp_path / "routing.yaml"
    if content is not None:
        path.write_bytes(content)
    config = "delivery: {credentials: {dir: /nowhere}}\n"
    ended = start_without_cluster(PROGRAM, tmp_path, config, env={"ROUTING_CONFIG_PATH": str(path)})
    assert ended.returncode == 1
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    bad = [record for record in told if record["level"] in ("warn", "error", "fatal")]
    assert [record["msg"] for record in bad] == [expected.format(path=path)]
    assert "stacktrace" not in bad[0]


def test_a_folder_for_files_that_takes_none_ends_the_start_with_what_to_do(tmp_path: Path) -> None:
    """Not the first delivery: by then the start counts as good."""
    place = tmp_path / "taken"
    place.write_text("not a folder")
    config = f"delivery: {{file: {{outputDir: {place}}}}}\n"
    ended = start_without_cluster(PROGRAM, tmp_path, config, env={"ROUTING_CONFIG_PATH": ""})
    assert ended.returncode == 1
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    (bad,) = [record for record in told if record["level"] in ("error", "fatal")]
    assert bad["msg"].startswith(f"cannot write to {place} (delivery.file.outputDir): ")
    assert bad["msg"].endswith("; mount a writable folder there or remove the key")
    assert "stacktrace" not in bad
