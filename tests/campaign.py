"""The long forms of the seeded tests: `python -m tests.campaign --part durability --seeds 10000`.

Each part is a module of `tests/campaigns` with `main(seeds: int) -> int`, which prints what it found and returns the
number of failures. Without `--part` every part runs.
"""

import argparse
import importlib
from pathlib import Path


def parts() -> list[str]:
    """The names of all parts."""
    return sorted(path.stem for path in (Path(__file__).parent / "campaigns").glob("[a-z]*.py"))


def run(part: str, seeds: int) -> int:
    """Run one part; the number of failures."""
    failures: int = importlib.import_module(f"tests.campaigns.{part}").main(seeds)
    return failures


def main() -> int:
    """Run the parts that the command line names; 0 when none failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=parts(), help="one part (all when left out)")
    parser.add_argument("--seeds", type=int, default=10_000, help="how much: what it counts is the part's to say")
    chosen = parser.parse_args()
    failures = sum(run(part, chosen.seeds) for part in ([chosen.part] if chosen.part else parts()))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
