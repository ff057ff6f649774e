"""Every shield of the sources is in the table of docs/shutdown.md, and nothing else is."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIELD = re.compile(r"shield=True|\.shield = ")


def test_the_table_of_shields_is_complete() -> None:
    found: Counter[str] = Counter()
    for path in sorted((ROOT / "src" / "optimizer").rglob("*.py")):
        lines = [
            line for line in path.read_text().splitlines() if SHIELD.search(line) and not line.strip().startswith("#")
        ]
        if lines and "pb" not in path.parts:
            found[path.relative_to(ROOT / "src" / "optimizer").as_posix()] = len(lines)
    table = (ROOT / "docs" / "shutdown.md").read_text().split("## Every shield")[1].split("## How")[0]
    named: Counter[str] = Counter()
    for line in table.splitlines():
        if match := re.match(r"\| `(\S+\.py)` \|", line):
            named[match[1]] += 2 if "(twice)" in line else 1
    assert named == found


def test_every_shield_has_its_deadline_on_the_same_line() -> None:
    for path in sorted((ROOT / "src" / "optimizer").rglob("*.py")):
        for line in path.read_text().splitlines():
            if "shield=True" in line and not line.strip().startswith("#"):
                assert re.search(r"move_on_after|move_on_at|fail_after|deadline=", line), f"{path.name}: {line}"
