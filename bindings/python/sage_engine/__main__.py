"""python -m sage_engine [--json]: what is installed and what it can do here. Exit code 1 where something is wrong."""

from __future__ import annotations

import argparse
import json
import sys

from .report import collect, is_well, render


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sage_engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    as_json = parser.parse_args().json
    found = collect()
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if as_json else render(found))
    return 0 if is_well(found) else 1


if __name__ == "__main__":
    sys.exit(main())
