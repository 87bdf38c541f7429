"""What is printed, and how: a terminal gets colour and a table that is redrawn, everything else plain lines.

Colour is left out where `NO_COLOR` is set. Nothing is redrawn on a terminal that cannot (`TERM=dumb`) or
is narrower than 80 columns.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Cell", "Screen", "paragraph"]

Cell = str | int
"""Text stands left, numbers right."""

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_TITLE = 16
_NARROWEST = 80


class Screen:
    """Writes to `out`. `live` tells whether lines can be redrawn."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        # On a narrower terminal lines wrap, and then the cursor finds no way back.
        wide = shutil.get_terminal_size().columns >= _NARROWEST
        self.live = wide and self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self.live and not os.environ.get("NO_COLOR")
        self._drawn = 0

    def paint(self, text: str, *styles: str) -> str:
        """The text in these styles, where there is colour. Pad it before: escapes have no width."""
        if not self._colour or not styles:
            return text
        return f"\033[{';'.join(_COLOURS[style] for style in styles)}m{text}\033[0m"

    def say(self, text: str = "") -> None:
        """One or several lines."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def heading(self, text: str, note: str = "") -> None:
        """A headline after a blank line; `note` follows it quietly."""
        self.say()
        self.say(self.paint(text, "bold") + (self.paint(f"  {note}", "dim") if note else ""))

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A line for something that takes a while; call what is yielded with what came of it."""
        came: list[str] = []
        begun = time.monotonic()
        if self.live:
            self._out.write(f"  {self.paint('·', 'dim')} {title.ljust(_TITLE)} {self.paint('...', 'dim')}")
            self._out.flush()
        try:
            yield came.append
        except BaseException:
            self._finish(self.paint("✗", "red"), title, "", 0.0)
            raise
        self._finish(self.paint("✓", "green"), title, "; ".join(came), time.monotonic() - begun)

    def _finish(self, mark: str, title: str, text: str, seconds: float) -> None:
        took = self.paint(f"  {seconds:.1f} s", "dim") if seconds >= 0.1 else ""
        self.say(f"{_erase() if self.live else ''}  {mark} {title.ljust(_TITLE)} {text}{took}".rstrip())

    def draw(self, lines: Sequence[str]) -> None:
        """Put these lines where the last drawn ones stand; only where `live`."""
        up = f"\033[{self._drawn}A" if self._drawn else ""
        self._out.write(up + "".join(f"{_erase()}{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Around calls of `draw`: the cursor is hidden meanwhile, and what was drawn stays."""
        if self.live:
            self._out.write("\033[?25l")
        try:
            yield
        finally:
            self._drawn = 0
            if self.live:
                self._out.write("\033[?25h")
                self._out.flush()

    def table(
        self,
        rows: Sequence[Sequence[Cell]],
        *,
        style: Callable[[int, int], Sequence[str]] = lambda row, column: (),
        gap: int = 3,
        indent: int = 2,
    ) -> list[str]:
        """Aligned lines; the first row is the header. `style` gives the styles of a cell by row and column."""
        columns = range(max(len(row) for row in rows))
        widths = [max(_width(str(row[column])) for row in rows if column < len(row)) for column in columns]
        right = [any(isinstance(row[column], int) for row in rows if column < len(row)) for column in columns]
        lines = []
        for number, row in enumerate(rows):
            cells = []
            for column, cell in enumerate(row):
                blank = " " * (widths[column] - _width(str(cell)))
                text = f"{blank}{cell}" if right[column] else f"{cell}{blank}"
                cells.append(self.paint(text, *(("dim",) if number == 0 else style(number, column))))
            lines.append(" " * indent + (" " * gap).join(cells).rstrip())
        return lines


def paragraph(text: str, indent: str = "  ", width: int | None = None) -> list[str]:
    """The text in lines that fit the terminal (at most 110 characters)."""
    width = width or min(110, shutil.get_terminal_size((110, 24)).columns)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _erase() -> str:
    return "\r\033[2K"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
