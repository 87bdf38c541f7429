r"""The regular expressions of `matchRe`: RE2, searched anywhere in the value, as Go's `regexp.MatchString` does.

RE2 runs in time linear in the value, whatever the pattern; values come from alerts. It has no back-references and no
look-around, and `\Z` is written `\z`. Two differences to Go's syntax are known: RE2 also takes `\C` (one byte), and
Go refuses a repeat count above 1000 where RE2's limit is the same but its message another.
"""

from __future__ import annotations

import re2  # type: ignore[import-untyped]

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class Pattern:
    """A compiled pattern. Raises ValueError with RE2's reason if `text` is not a valid one."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = re2.compile(text, _OPTIONS)
        except (re2.error, UnicodeEncodeError) as error:
            reason = error.args[0] if error.args else "invalid"
            reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(reason) from None

    def found_in(self, value: str) -> bool:
        """Whether the pattern matches anywhere in `value`."""
        return self._compiled.search(value.encode("utf-8", "replace").decode()) is not None
