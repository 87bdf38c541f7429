"""The routing file: models, loading, validation.

Lenient where the Go controller is: unknown keys are ignored (`unknown_keys_of` names them: with a misspelt
`slackConfigs` everything goes to the console), and what has no effect is accepted (`advice` warns of it).
Strict where a mistake would lose notifications: everything that is wrong is reported at once, each problem with file
and key. Keys that the Go controller does not know (`urlRef`, `credentialRef` and `authUsername` of webhook and email
entries) are checked strictly.

YAML is read the way Go reads it into typed fields: `yes`, `on` and `007` in a matcher are the texts that stand there.
A key given twice is refused; the second would silently win.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from kubernaut_notification.routing.patterns import Pattern
from kubernaut_runtime.config import ConfigError, unknown_keys
from kubernaut_runtime.text import encodable
from kubernaut_runtime.yamlfile import UniqueKeyLoader, yaml_problem


class RoutingError(ConfigError):
    """A routing file that cannot be used; `problems` holds one line per mistake."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True)


class Route(_Model):
    """One node of the tree: what it matches, whom it names, whether its next sibling is still asked."""

    receiver: str = ""
    group_by: tuple[str, ...] = ()
    group_wait: Any = None
    group_interval: Any = None
    repeat_interval: Any = None
    match: dict[str, str] = Field(default_factory=dict)
    match_re: dict[str, str] = Field(default_factory=dict)
    continue_: bool = Field(default=False, alias="continue")
    routes: tuple[Route | None, ...] = ()


class SlackConfig(_Model):
    """One Slack webhook; `credential_ref` names the file that holds its URL."""

    channel: str = ""
    credential_ref: str = ""
    username: str = ""
    icon_emoji: str = ""


class PagerDutyConfig(_Model):
    """One PagerDuty service; `credential_ref` names the file that holds its routing key.

    `url` replaces PagerDuty's address, `severity` the one that follows from the priority.
    """

    credential_ref: str = ""
    url: str = ""
    severity: str = ""


class TeamsConfig(_Model):
    """One Teams workflow; `credential_ref` names the file that holds its URL."""

    credential_ref: str = ""


class EmailConfig(_Model):
    """One mail: to one or more addresses (comma-separated), through `smarthost` (`host:port`).

    With `auth_username`, `credential_ref` names the file that holds its password.
    """

    to: str = ""
    from_: str = Field(default="", alias="from")
    smarthost: str = ""
    require_tls: bool = True
    auth_username: str = ""
    credential_ref: str = ""


class BasicAuth(_Model):
    """User and password of a webhook; the password is shown nowhere."""

    username: str = ""
    password: str = Field(default="", repr=False)


class HttpConfig(_Model):
    """How a webhook authenticates; the token is shown nowhere."""

    bearer_token: str = Field(default="", repr=False)
    basic_auth: BasicAuth | None = None


class WebhookConfig(_Model):
    """One generic webhook. Its URL is a secret: `url` holds it, or the file that `url_ref` names.

    `credential_ref` names the file with the bearer token or, with `http_config.basic_auth.username`, the password.
    """

    url: str = Field(default="", repr=False)
    url_ref: str = ""
    credential_ref: str = ""
    http_config: HttpConfig | None = None

    @property
    def username(self) -> str:
        """The user of HTTP Basic, empty without; an inline bearer token wins over a user."""
        http = self.http_config
        return http.basic_auth.username if http and http.basic_auth and not http.bearer_token else ""

    @property
    def inline_secret(self) -> str:
        """The token or password that stands in the file itself."""
        http = self.http_config
        if http is None:
            return ""
        return http.bearer_token or (http.basic_auth.password if http.basic_auth else "")


class SwitchConfig(_Model):
    """A console or log entry; its presence counts, not its flag."""

    enabled: bool = True


class FileConfig(_Model):
    """A file entry; its presence counts. Where files go is the controller's `delivery.file.outputDir`."""

    path: str = ""
    enabled: bool = True


class Receiver(_Model):
    """A named set of channels. Without any it gets the console: no notification disappears."""

    name: str = ""
    slack_configs: tuple[SlackConfig, ...] = ()
    pagerduty_configs: tuple[PagerDutyConfig, ...] = ()
    teams_configs: tuple[TeamsConfig, ...] = ()
    email_configs: tuple[EmailConfig, ...] = ()
    webhook_configs: tuple[WebhookConfig, ...] = ()
    console_configs: tuple[SwitchConfig, ...] = ()
    file_configs: tuple[FileConfig, ...] = ()
    log_configs: tuple[SwitchConfig, ...] = ()

    def credential_refs(self) -> list[str]:
        """Return the names of the credentials that this receiver needs."""
        entries: tuple[SlackConfig | PagerDutyConfig | TeamsConfig | EmailConfig | WebhookConfig, ...] = (
            *self.slack_configs,
            *self.pagerduty_configs,
            *self.teams_configs,
            *self.email_configs,
            *self.webhook_configs,
        )
        references = [entry.credential_ref for entry in entries] + [entry.url_ref for entry in self.webhook_configs]
        return [reference for reference in references if reference]


class RoutingConfig(_Model):
    """A routing file."""

    route: Route
    receivers: tuple[Receiver, ...]

    def credential_refs(self) -> list[str]:
        """Return the names of all credentials that the file refers to, each once, in order."""
        return list(dict.fromkeys(ref for receiver in self.receivers for ref in receiver.credential_refs()))


DEFAULT_CONFIG = RoutingConfig.model_validate(
    {"route": {"receiver": "console-fallback"}, "receivers": [{"name": "console-fallback", "consoleConfigs": [{}]}]}
)
"""What routes until a file was loaded: everything to the console."""


class _Loader(UniqueKeyLoader):
    """YAML whose scalars stay texts, null excepted; the models give them types."""


_KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_routing(text: str, source: str) -> RoutingConfig:
    """Return the routing file `text`; `source` names it in errors.

    Raises `RoutingError` with every problem found: YAML, missing route or receivers, unknown receivers, invalid
    regular expressions, HTTP channels without a credentialRef.
    """
    try:
        data = _without_null(yaml.load(text, Loader=_Loader))
    except RecursionError:
        deep = "it is nested too deeply, or an anchor contains itself"
        raise RoutingError([f"cannot load routing file {source}: {deep}; write it flat"]) from None
    except yaml.YAMLError as error:
        raise RoutingError([f"cannot load routing file {source}: {yaml_problem(error)}; correct the YAML"]) from None
    if not isinstance(data, dict):
        raise RoutingError([f"cannot load routing file {source}: it must hold the keys route and receivers"])
    problems = _missing(data)
    config: RoutingConfig | None = None
    if not problems:
        try:
            config = RoutingConfig.model_validate(data)
        except ValidationError as error:
            problems = [_describe(item) for item in error.errors(include_url=False, include_input=False)]
    if config is not None:
        problems = list(_problems(config))
    if problems or config is None:
        raise RoutingError([f"cannot load routing file {source}: {problem}" for problem in problems])
    return config


def unknown_keys_of(text: str) -> list[str]:
    """Return one line for each key of the routing file `text`, one that was loaded, that has no effect for its name."""
    return unknown_keys(_without_null(yaml.load(text, Loader=_Loader)), RoutingConfig)


def _missing(data: dict[str, Any]) -> list[str]:
    problems = []
    if data.get("route") is None:
        problems.append("route is missing; add one with the name of the default receiver")
    receivers = data.get("receivers")
    if not receivers:
        problems.append("receivers is missing or empty; name at least one receiver")
    if isinstance(receivers, list):
        empty = [index for index, receiver in enumerate(receivers) if receiver is None]
        problems += [f"receivers[{index}] is empty; give it a name or remove it" for index in empty]
    return problems


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _describe(item: Any) -> str:
    path = ""
    for step in item["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f"{'.' if path else ''}{step}"
    return f"{path}: {str(item['msg']).replace('Input should', 'must')}"


def _problems(config: RoutingConfig) -> Iterator[str]:
    for index, receiver in enumerate(config.receivers):
        where = f"receivers[{index}]"
        if not receiver.name:
            yield f"{where}.name is empty; give the receiver a name"
        elif encodable(receiver.name) != receiver.name:
            yield f"{where}.name holds half a surrogate pair, which no status can; correct the escape"
        kinds: dict[str, tuple[SlackConfig | PagerDutyConfig | TeamsConfig, ...]] = {
            "slackConfigs": receiver.slack_configs,
            "pagerdutyConfigs": receiver.pagerduty_configs,
            "teamsConfigs": receiver.teams_configs,
        }
        for kind, entries in kinds.items():
            for number, entry in enumerate(entries):
                if not entry.credential_ref.strip():
                    yield f"{where}.{kind}[{number}].credentialRef is empty; name a file in the credentials folder"
        yield from _mail_problems(receiver, where)
        yield from _webhook_problems(receiver, where)
    yield from _key_problems(config)
    names = {receiver.name for receiver in config.receivers}
    yield from _route_problems(config.route, "route", names)


def _key_problems(config: RoutingConfig) -> Iterator[str]:
    """Receiver `a:0` and the first of several entries of `a` have one key: one would get the other's messages."""
    receivers = {receiver.name: receiver for receiver in config.receivers}
    for name, receiver in receivers.items():
        for kind in ("slack", "pagerduty", "teams", "email", "webhook"):
            entries = getattr(receiver, f"{kind}_configs")
            for number in range(len(entries) if len(entries) > 1 else 0):
                other = receivers.get(f"{name}:{number}")
                if other is not None and len(getattr(other, f"{kind}_configs")) == 1:
                    yield f"receivers {name!r} and {other.name!r} both make channel {kind}:{other.name}; rename one"


def _mail_problems(receiver: Receiver, where: str) -> Iterator[str]:
    for number, entry in enumerate(receiver.email_configs):
        if bool(entry.auth_username) != bool(entry.credential_ref):
            yield (
                f"{where}.emailConfigs[{number}]: authUsername and credentialRef belong together; "
                f"{'name the file with the password' if entry.auth_username else 'name the user'} or remove the other"
            )


def _webhook_problems(receiver: Receiver, where: str) -> Iterator[str]:
    for number, entry in enumerate(receiver.webhook_configs):
        if entry.url and entry.url_ref:
            yield f"{where}.webhookConfigs[{number}]: url and urlRef are both set; remove one"
        if entry.inline_secret and entry.credential_ref:
            yield (
                f"{where}.webhookConfigs[{number}]: credentialRef and a token or password in httpConfig are both set; "
                "remove the latter"
            )


def _route_problems(route: Route, where: str, names: set[str]) -> Iterator[str]:
    if route.receiver and route.receiver not in names:
        known = ", ".join(sorted(name for name in names if name))
        yield f"{where}.receiver names {route.receiver!r}, which is not among the receivers; known are {known}"
    for key, text in route.match_re.items():
        try:
            Pattern(text)
        except ValueError as error:
            yield f"{where}.matchRe.{key}: {text!r} is not a valid RE2 pattern ({error}); correct it"
    for index, child in enumerate(route.routes):
        if child is None:
            yield f"{where}.routes[{index}] is empty; fill it or remove it"
        else:
            yield from _route_problems(child, f"{where}.routes[{index}]", names)
