"""docs/claims.md: how many published claims got which verdict, by which rule.

`python tests/cli/test_claims_table.py` writes both tables.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vlm_tokencost.presets.auditing import RULES, VERDICTS
from vlm_tokencost.presets.auditing import audit as _rules  # noqa: F401 - fills RULES
from vlm_tokencost.presets.claim import Claim, load_claims

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


class Checked(NamedTuple):
    """The rows of `claims check --all`, and the seconds of processors that they took."""

    rows: list[dict[str, Any]]
    seconds: float


@cache
def checked() -> Checked:
    """Check all published claims in a process of their own, which has nothing to reuse."""
    command = [sys.executable, "-m", "vlm_tokencost.cli", "claims", "check", "--all"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([*command, "--format", "json"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Checked(json.loads(run.stdout), seconds)


def counts_table() -> str:
    """Return the verdicts with their numbers, of all claims and of those read in their source."""
    rows = [row for row in checked().rows if not row["repeats"]]
    judged = [row for row in rows if load_claims()[row["id"]].judged]
    every = Counter(row["verdict"] for row in judged)
    read = Counter(row["verdict"] for row in judged if row["verification"] == "source")
    lines = ["| verdict | claims | read in the source | meaning |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {name} | {every[name]} | {read[name]} | {meaning} |"
        for name, meaning in VERDICTS.items()
    ]
    lines.append(f"| all | {every.total()} | {read.total()} | |")
    recorded = len(rows) - len(judged)
    return "\n".join([*lines, "", f"Beside these, {recorded} figures are recorded alone."])


def rules_table() -> str:
    """Return the rules with the number of verdicts that rest on each."""
    used = Counter(row["rule"] for row in checked().rows if not row["repeats"])
    lines = ["| rule | claims | what it says |", "| --- | ---: | --- |"]
    lines += [f"| `{rule.id}` | {used[rule.id]} | {rule.text} |" for rule in RULES.values()]
    return "\n".join(lines)


def current() -> str:
    """Return the page with its tables as they are now."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in (("counts", counts_table()), ("rules", rules_table())):
        head, _, rest = text.partition(f"<!-- {name}: ")
        comment, _, rest = rest.partition("-->\n")
        _, end, tail = rest.partition(f"<!-- end of {name} -->")
        assert end, f"the page has no place for {name}"
        text = f"{head}<!-- {name}: {comment}-->\n{table}\n{end}{tail}"
    return text


def test_the_tables_are_current():
    assert PAGE.read_text(encoding="utf-8") == current()


def test_every_claim_has_a_verdict_that_is_explained():
    rows = checked().rows
    assert [row["id"] for row in rows] == list(load_claims())
    for row in rows:
        assert row["rule"] in RULES, row["id"]
        assert row["reason"].endswith("."), row["id"]
        assert not row["reason"].endswith(".."), row["id"]


def test_all_claims_are_checked_in_time():
    """20 s on two cores are allowed; processor time, since other work delays the clock's."""
    assert checked().seconds < 20


def test_the_page_names_every_key_of_a_claim():
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| key | meaning |") :]
    for key in Claim.model_fields:
        assert f"`{key}`" in table, key


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
    sys.exit(0)
