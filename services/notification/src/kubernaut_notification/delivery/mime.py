"""A notification as a mail: its addresses, headers and text.

Nothing of a notification can add a header or a recipient: headers are set through the standard library's structured
types from texts on one line, recipients come from the routing file alone. The text is UTF-8, transfer-encoded, so that
any relay passes it on.

An attempt that is made again makes the same bytes: `Message-ID` derives from the attempt's idempotency key and `Date`
is the announced time. Mail stores and clients that know Message-IDs show it once.
"""

from __future__ import annotations

import hashlib
import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from kubernaut_notification.delivery.message import Message
from kubernaut_runtime.text import encodable, one_line

SUBJECT_LIMIT = 900
"""Code points of a subject that are sent; RFC 5322 allows 998 octets in a line, folding needs some."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
# The standard library's parsers repair what they read ("a@x y" becomes a@xy): an address must not be guessed.
_ENTRY = re.compile(r"""\s*(?:(?:"((?:[^"\\]|\\.)*)"|([^",<>@]*))\s*<([^<>\s,]+)>|([^<>\s,"]*))\s*(?:,|$)""")
_LARGE = 64 * 1024


def parse_addresses(text: str) -> list[Address]:
    """Return the addresses of a comma-separated list, display names allowed; an international domain is encoded.

    Raises ValueError if there is none, or one that is no address.
    """
    line, position, found = one_line(text), 0, []
    while position < len(line):
        match = _ENTRY.match(line, position)
        if match is None:
            raise ValueError("not an address")
        quoted, name, in_brackets, bare = match.groups(default="")
        if address := in_brackets or bare:
            found.append(_address(re.sub(r"\\(.)", r"\1", quoted) or name.strip(), address))
        position = match.end()
    if not found:
        raise ValueError("no address")
    return found


def _address(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        domain = ""
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("not an address")
    return Address(name, local, domain)


def mail(message: Message, sender: Address, recipients: list[Address]) -> bytes:
    """Return the mail for a prepared notification, with CRLF line ends."""
    spec, meta = message.nr.spec, message.nr.metadata
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = recipients
    made["Subject"] = one_line(f"[{spec.priority}] {spec.subject}")[:SUBJECT_LIMIT]
    made["Date"] = message.due
    made["Message-ID"] = message_id(message.idempotency_key, sender.domain)
    made["Auto-Submitted"] = "auto-generated"  # keeps vacation notices from answering
    links = "\n".join(one_line(f"{link.label}: {link.url}") for link in spec.action_links)
    footer = one_line(f"Priority: {spec.priority} | Type: {spec.type} | Notification: {meta.namespace}/{meta.name}")
    text = "\n\n".join(part for part in (_clean(spec.body), links, f"-- \n{footer}") if part) + "\n"
    # Quoted-printable stays readable in the raw mail, but the standard library takes seconds for a megabyte of it.
    made.set_content(text, charset="utf-8", cte="base64" if len(text) > _LARGE else "quoted-printable")
    return made.as_bytes()


def message_id(key: str, domain: str) -> str:
    """Return the Message-ID for an idempotency key."""
    return f"<{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}@{domain}>"


def _clean(body: str) -> str:
    return _CONTROL.sub("", encodable(body).replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
