"""A real Prometheus that scrapes a process under test, and promtool.

Alert rules and dashboards are queries, and only Prometheus knows what a query means: whether it parses, whether its
two sides match, whether it finds anything in what the process really exposes. So they are tried on the program itself,
which keeps its data in a private folder and listens on loopback.

The targets' labels are given as a cluster's service discovery would give them (``namespace``, ``pod``, ``service``).
They win over labels of the same name in what is scraped, as they do in a cluster: a metric's own ``service`` is found
as ``exported_service``.
"""

from __future__ import annotations

import json
import math
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from kubernaut_testing.children import Child, Children
from kubernaut_testing.ports import free_port
from kubernaut_testing.systempackages import find_system_program
from kubernaut_testing.waiting import eventually

__all__ = ["Prometheus", "QueryError", "Rule", "Sample", "Target", "promtool"]


class QueryError(ValueError):
    """Prometheus refused a query, or failed at it; says the query and why."""


@dataclass(frozen=True)
class Sample:
    """One series of an answer: its labels (the metric's name is ``__name__``) and its value."""

    labels: Mapping[str, str]
    value: float

    @property
    def is_number(self) -> bool:
        """Whether it is a number: 0/0 is none."""
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Rule:
    """One rule as Prometheus has it after an evaluation.

    Attributes:
        name: of the alert, or of the recorded series.
        health: "ok", "err", or "unknown" before its first evaluation.
        error: why it could not be evaluated; empty if it could.
        state: "inactive", "pending" or "firing"; empty for a recording rule.
    """

    name: str
    health: str
    error: str
    state: str


@dataclass(frozen=True)
class Target:
    """What is scraped.

    Attributes:
        url: of its metrics.
        job: the name of its scrape job; its ``job`` label.
        labels: further labels.
    """

    url: str
    job: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Prometheus:
    """A running Prometheus; a context manager.

    Args:
        targets: what to scrape, from five seconds after the start on; earlier Prometheus does not look at its list.
            A target that is down is scraped again and again.
        rules: files with alert or recording rules.
        interval: seconds between two scrapes and between two evaluations.
    """

    def __init__(self, targets: Iterable[Target], *, rules: Sequence[Path] = (), interval: float = 1.0) -> None:
        self._targets = list(targets)
        self._rules = list(rules)
        self._interval = interval
        self._children: Children | None = None
        self._child: Child | None = None
        self._port = 0

    def __enter__(self) -> Self:
        program = find_system_program("prometheus")
        self._children = Children("prometheus")
        folder = self._children.folder
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(self._config()))
        self._port = free_port()
        self._child = self._children.spawn(
            "prometheus",
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ],
        )
        try:
            eventually(self._ready, timeout=60, message=lambda: f"readiness of Prometheus; its log:\n{self._log()}\n")
            if not self._child.running:
                raise RuntimeError(f"cannot start Prometheus; the end of its log:\n{self._log()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        children, self._children = self._children, None
        if children is not None:
            children.close()

    @property
    def url(self) -> str:
        """Where its API and its pages are."""
        return f"http://127.0.0.1:{self._port}"

    def query(self, expression: str) -> list[Sample]:
        """What an expression yields now: the series of a vector, or a scalar as one series without labels.

        Raises QueryError.
        """
        data = self._get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        if data["resultType"] != "vector":
            raise QueryError(f"cannot use {expression}: it yields a {data['resultType']}, not a vector or a scalar")
        return [Sample(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression: str) -> float:
        """The one number that an expression yields. Raises LookupError for none or several, QueryError."""
        found = self.query(expression)
        if len(found) != 1:
            raise LookupError(f"{expression} yields {len(found)} series, not one")
        return found[0].value

    def rules(self) -> list[Rule]:
        """All rules, with what came of their last evaluation."""
        groups = self._get("/api/v1/rules")["groups"]
        return [
            Rule(rule["name"], rule["health"], rule.get("lastError", ""), rule.get("state", ""))
            for group in groups
            for rule in group["rules"]
        ]

    def wait_evaluated(self, timeout: float = 60.0) -> list[Rule]:
        """Wait until each rule was evaluated once, and return them."""

        def evaluated() -> list[Rule]:
            rules = self.rules()
            return rules if all(rule.health != "unknown" for rule in rules) else []

        return eventually(evaluated, timeout=timeout, message="evaluation of every rule")

    def wait_scraped(self, timeout: float = 60.0) -> None:
        """Wait until queries see a scrape, without an error, of every target that began after this call."""
        for _ in range(2):  # a scrape is told before its samples are stored; the next one is told after that
            self._wait_scraped_once(timeout)

    def _wait_scraped_once(self, timeout: float) -> None:
        before = {target["scrapeUrl"]: target["lastScrape"] for target in self._active()}

        def scraped() -> bool:
            active = self._active()
            return len(active) == len(self._targets) and all(
                target["health"] == "up" and target["lastScrape"] > before.get(target["scrapeUrl"], "")
                for target in active
            )

        def state() -> str:
            return ", ".join(f"{t['scrapeUrl']} {t['health']} {t['lastError']}".strip() for t in self._active())

        eventually(scraped, timeout=timeout, message=lambda: f"a scrape of every target ({state()})")

    def _config(self) -> dict[str, Any]:
        interval = f"{round(self._interval * 1000)}ms"
        jobs: dict[str, dict[str, Any]] = {}
        for number, target in enumerate(self._targets):
            parts = urlsplit(target.url)
            static = {"targets": [parts.netloc], "labels": {"job": target.job, **target.labels}}
            jobs[f"{target.job}-{number}"] = {
                "scheme": parts.scheme,
                "metrics_path": parts.path or "/metrics",
                "static_configs": [static],
            }
        return {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path.absolute()) for path in self._rules],
            "scrape_configs": [{"job_name": name, **job} for name, job in jobs.items()],
        }

    def _active(self) -> list[dict[str, Any]]:
        return list(self._get("/api/v1/targets", state="active")["activeTargets"])

    def _ready(self) -> bool:
        assert self._child is not None
        if not self._child.running:
            return True
        with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)

    def _log(self) -> str:
        return self._child.log_tail() if self._child is not None else ""

    def _get(self, path: str, **parameters: str) -> Any:
        whole = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(whole, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            reason = json.loads(error.read() or b"{}").get("error", error.reason)
            raise QueryError(f"cannot evaluate {parameters.get('query', path)}: {reason}") from None


def promtool(*arguments: str | Path, stdin: str = "") -> str:
    """Run promtool and return what it printed; AssertionError with that if it found fault."""
    done = subprocess.run(
        [find_system_program("promtool"), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = f"{done.stdout}{done.stderr}".strip()
    if done.returncode != 0:
        raise AssertionError(f"promtool {' '.join(map(str, arguments))} found fault:\n{told}")
    return told
