"""Each class by itself, what must not be hit, and properties of the whole."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_notification.delivery.redaction import CLASSES, redact, redact_link, redact_value, without_secrets

R = "[REDACTED]"
PEM = "-----BEGIN {0}-----\nMIIB\nabc=\n-----END {0}-----"

ONE_BY_ONE: list[tuple[int, str, str]] = [
    (1, '{"generatorURL": "http://prom/graph?x=1"}', '{"generatorURL":"[REDACTED]"}'),
    (1, '"generatorUR":"x"', '"generatorURL":"[REDACTED]"'),
    (2, '{"annotations": {"runbook": "x"}, "b": 1}', '{"annotations":[REDACTED], "b": 1}'),
    (3, '{"password":"secret123"}', '{"password":"[REDACTED]"}'),
    (3, r'{"pwd": "a\"b", "x": 1}', '{"pwd": "[REDACTED]", "x": 1}'),
    (4, "password: hunter2 next", "password: [REDACTED] next"),
    (4, "db_password=hunter2, next", "db_password: [REDACTED], next"),
    (4, "PASSWD = 'two words' next", "PASSWD: [REDACTED] next"),
    (4, "pwd=x}", "pwd: [REDACTED]}"),
    (5, "https://bob:s3cr@t@host/path", "https://bob:[REDACTED]@host/path"),
    (6, '{"api_key": "abc"}', '{"api_key": "[REDACTED]"}'),
    (6, '{"apiKey":"abc"}', '{"apiKey":"[REDACTED]"}'),
    (7, "api-key: abc", "api-key: [REDACTED]"),
    (8, "use sk-proj-1234_abcd now", "use [REDACTED] now"),
    (9, "bearer eyJhbGciOi.x-y_z== tail", "Bearer [REDACTED] tail"),
    (10, "ghp_" + "a1" * 18, R),
    (11, '{"access_token":"t"}', '{"access_token":"[REDACTED]"}'),
    (12, "token=abc", "token: [REDACTED]"),
    (12, "refresh_token: abc", "refresh_token: [REDACTED]"),
    (13, '{"client_secret": "t"}', '{"client_secret": "[REDACTED]"}'),
    (14, "secret: abc", "secret: [REDACTED]"),
    (15, "Authorization: abc123", "Authorization: [REDACTED]"),
    (15, "Authorization: Basic dXNlcjpwYXNz end", "Authorization: [REDACTED] end"),
    (16, "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_ACCESS_KEY_ID=[REDACTED]"),
    (16, "aws_access_key: AKIAIOSFODNN7EXAMPLE", "aws_access_key=[REDACTED]"),
    (
        17,
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SECRET_ACCESS_KEY=[REDACTED]",
    ),
    (18, "postgresql://u:p/w@db:5432/x", "postgresql://u:[REDACTED]@db:5432/x"),
    (19, "mysql://u:p@db/x", "mysql://u:[REDACTED]@db/x"),
    (20, "mongodb://u:p@db/x", "mongodb://u:[REDACTED]@db/x"),
    (21, "redis://:p@db/0", "redis://:[REDACTED]@db/0"),
    (22, f"a {PEM.format('CERTIFICATE')} b", f"a {R} b"),
    (23, f"a {PEM.format('RSA PRIVATE KEY')} b", f"a {R} b"),
    (23, PEM.format("PRIVATE KEY"), R),
    (24, "data:\n    credential: c2VjcmV0MTIz\nx", "data:\n  credential: [REDACTED]\nx"),
    (27, "ask jane.doe+x@mail.example.com now", f"ask {R} now"),
    (28, "from 10.0.0.1:8080 to 192.168.255.254/24.", f"from {R}:8080 to {R}/24."),
]


@pytest.mark.parametrize(
    ("number", "text", "expected"), ONE_BY_ONE, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(ONE_BY_ONE)]
)
@pytest.mark.behaviour(74)
def test_a_class_redacts_what_it_is_for(number: int, text: str, expected: str) -> None:
    entry = next(entry for entry in CLASSES if entry.number == number)
    assert entry.apply(text) == expected
    assert any(hint in text.lower() for hint in entry.hints)


@pytest.mark.parametrize(
    ("number", "text", "expected"), ONE_BY_ONE, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(ONE_BY_ONE)]
)
def test_all_classes_together_leave_nothing_of_it(number: int, text: str, expected: str) -> None:
    redacted = redact(text)
    assert R in redacted
    for secret in (
        "hunter2",
        "secret123",
        "s3cr",
        "abc123",
        "dXNl",
        "AKIA",
        "wJalr",
        "eyJ",
        "jane",
        "10.0.0.1",
        "MIIB",
    ):
        assert secret not in redacted


def test_the_classes_are_numbered_and_ordered_as_in_the_contract() -> None:
    assert [entry.number for entry in CLASSES] == list(range(1, 29))


@pytest.mark.parametrize(
    "text",
    [
        "All good.",
        "disk-pressure on task-runner-1234, risk-based",
        "Kubernetes v1.28.3.4 and version 1.2.3.4",
        "image 1.2.3.4-rc1, 1.2.3.4.5",
        "256.1.1.1 and 1.2.3",
        "https://example.com:8080/path",
        "ghp_short",
        "the tokenizer: fast",
        "passwords are bad",
        "@here user@localhost",
        "2026-03-01T10:00:00Z",
        "-----BEGIN PUBLIC KEY-----",
        "key is: not a line of its own abcdefgh",
        '"annotationsx": {"a": 1}',
        "sha256:0123456789abcdef",
    ],
)
@pytest.mark.behaviour(74)
def test_text_without_secrets_comes_back_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.behaviour(74)
def test_json_keeps_its_shape() -> None:
    text = json.dumps({"user": "bob", "password": 'a"b\\', "nested": {"api_key": "k", "token": "t", "n": 1}})
    parsed = json.loads(redact(text))
    assert parsed == {"user": "bob", "password": R, "nested": {"api_key": R, "token": R, "n": 1}}


@pytest.mark.behaviour(75)
def test_a_database_url_keeps_scheme_user_and_host() -> None:
    assert redact("postgresql://app:s3cret@db.internal:5432/app") == f"postgresql://app:{R}@db.internal:5432/app"


@pytest.mark.behaviour(76)
def test_plain_lines_read_as_the_contract_shows_them() -> None:
    text = redact("password: mypass123\napi_key=abcd1234\ntoken = xyz789")
    assert text == f"password: {R}\napi_key: {R}\ntoken: {R}"


def test_an_authorization_header_becomes_two_placeholders() -> None:
    assert redact("Authorization: Bearer abc.def") == f"Authorization: {R} {R}"


@pytest.mark.parametrize(
    "text",
    ['{"password": "cut off in the midd', "-----BEGIN RSA PRIVATE KEY-----\nMIIBcut", '{"annotations": {"a": "s3cret'],
)
def test_what_was_cut_off_is_redacted_to_the_end(text: str) -> None:
    redacted = redact(text)
    assert redacted.rstrip('"').endswith(R)
    assert not any(part in redacted for part in ("midd", "MIIB", "s3cret"))


def test_a_link_keeps_its_address_and_loses_its_credentials() -> None:
    assert redact_link("http://u:p4ss@10.0.0.1:3000/d?token=abc") == f"http://u:{R}@10.0.0.1:3000/d?token: {R}"


SHAPES = st.sampled_from(
    [
        "password: {0}",
        "pwd={0}",
        '{{"password": "{0}"}}',
        "api_key={0}",
        "token: {0}",
        '{{"access_token":"{0}"}}',
        "secret={0}",
        '{{"client_secret": "{0}"}}',
        "Bearer {0}",
        "Authorization: Basic {0}",
        "sk-{0}",
        "https://user:{0}@host/",
        "mysql://user:{0}@host/db",
        "redis://:{0}@host/0",
        "-----BEGIN PRIVATE KEY-----\n{0}\n-----END PRIVATE KEY-----",
    ]
)
NOISE = st.text(alphabet=' \n,;.{}[]()"<>&*`#:=@aé🚨', max_size=30)


@given(before=NOISE, shape=SHAPES, after=NOISE, secret=st.text(alphabet="BCDFGHJK0123456789", min_size=8, max_size=24))
def test_a_planted_secret_never_survives(before: str, shape: str, after: str, secret: str) -> None:
    assert secret not in redact(f"{before} {shape.format(secret)} {after}")


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "a@", '"', '"password":', '"annotations":{', "://", "://a:", "sk-", "1.", "[", "@a.", "é",
     "-----BEGIN CERTIFICATE-----", "bearer ", "authorization:", "\n", " ", "key:", "password", "token=",
     "aws_secret_key", "eyJ"],
)  # fmt: skip
def test_hostile_texts_cost_linear_time(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    begin = time.process_time()
    redact("password token secret api annotations key @ . :// bearer authorization " + text)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        *((key, True) for key in ("password", "db-password", "dbPassword", "apiToken", "client_secret", "API_KEY")),
        *((key, False) for key in ("team", "tokens-used", "password-policy", "")),
    ],
)
def test_a_key_can_tell_that_its_value_is_a_secret(key: str, hidden: bool) -> None:
    """Weak point 15: `{"password": "x"}` as a map, whose value alone tells nothing."""
    assert redact_value(key, "hunter2") == ("[REDACTED]" if hidden else "hunter2")
    assert redact_value(key, "") == ""


def test_secrets_are_found_in_the_forms_that_receivers_quote_them_in() -> None:
    secret = "a/b+c=d&e-S3CRET"
    forms = ["a/b+c=d&e-S3CRET", "A/B+C=D&E-s3cret", "a%2Fb%2Bc%3Dd%26e-S3CRET", "a%2fb%2bc%3dd%26e-S3CRET"]
    forms += [r"a\/b+c=d&e-S3CRET", r"a/b\u002Bc\u003dd\u0026e-S3CRET", "a&#x2F;b&#43;c=d&amp;e-S3CRET"]
    for form in forms:
        assert without_secrets(f"<{form}>", [secret]) == "<[REDACTED]>"
    assert without_secrets("x <y", []) == "x <y"


def test_only_a_text_that_was_cut_off_loses_an_end_that_looks_like_the_beginning_of_a_secret() -> None:
    assert without_secrets("no service", ["services/x"]) == "no service"
    assert without_secrets("see services/", ["services/x"], cut_off=True) == "see [REDACTED]"
    assert without_secrets("see ser", ["services/x"], cut_off=True) == "see ser"
