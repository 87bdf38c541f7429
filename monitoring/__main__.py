"""`python -m monitoring`: write the alerts and dashboards of all charts, or with `--check` compare them."""

from __future__ import annotations

import argparse
import difflib
import sys

from .dashboard import dashboard
from .rules import rules
from .services import ROOT, SERVICES


def main(arguments: list[str] | None = None) -> int:
    """Write what is generated, or with `--check` print how the committed files differ; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description="Generate alerts and dashboards.")
    parser.add_argument("--check", action="store_true", help="print a diff and exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    wrong = False
    for service in SERVICES:
        made = {"rules.yaml": rules(service), "dashboard.json": dashboard(service)}
        for name, content in made.items():
            path = service.files / name
            stored = path.read_text() if path.exists() else ""
            if stored == content:
                continue
            wrong, shown = True, path.relative_to(ROOT)
            if check:
                lines = difflib.unified_diff(
                    stored.splitlines(), content.splitlines(), f"{shown} (committed)", f"{shown} (made)", lineterm=""
                )
                sys.stdout.write("\n".join(lines) + "\n")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
                sys.stdout.write(f"{shown}\n")
    if check and wrong:
        sys.stderr.write("cannot pass: alerts or dashboards are out of date; run make monitoring\n")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
