"""`python -m kubernaut_api.crds [--check]`: write the CRDs, or fail with a diff if they are not up to date."""

from __future__ import annotations

import argparse
import sys

from kubernaut_api.crds import difference, write_crds


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if `--check` found a difference, else 0."""
    parser = argparse.ArgumentParser(prog="python -m kubernaut_api.crds", description="Generate the CRDs.")
    parser.add_argument(
        "--check", action="store_true", help="print a diff and exit 1 if a committed CRD is out of date"
    )
    if not parser.parse_args(arguments).check:
        for path in write_crds():
            sys.stdout.write(f"{path}\n")
        return 0
    found = difference()
    if found:
        sys.stdout.write(found)
        sys.stderr.write("cannot pass: the committed CRDs differ from the models; run python -m kubernaut_api.crds\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
