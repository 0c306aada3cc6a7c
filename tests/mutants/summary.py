"""What `make mutants` found: the score, and every mutant that no test noticed and nobody has accepted.

    python -m tests.mutants.summary build/mutants

Asks mutmut for its results (in ``functions/``), reads those of tables.py, and ``accepted.toml`` beside this file. Exits
1 if there is anything left to do. Survivors are printed as entries for ``accepted.toml``, ready for a reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ACCEPTED = Path(__file__).with_name("accepted.toml")
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
UNCHECKED = "not checked"
_CLASS = "\N{LATIN LETTER LATERAL CLICK}"
"""mutmut puts this before and after the name of a method's class."""


class Mutant(NamedTuple):
    """One change. Named by what it changes and not by mutmut's number, which moves with every edit above it."""

    function: str
    was: str
    now: str


def function_of(name: str) -> str:
    """``otp_core.clock.xǁGuardedClockǁnow__mutmut_3`` -> ``otp_core.clock.GuardedClock.now``."""
    module, _, mangled = re.sub(r"__mutmut_\d+$", "", name).rpartition(".")
    if mangled.startswith(f"x{_CLASS}"):
        return f"{module}.{mangled[2:].replace(_CLASS, '.')}"
    return f"{module}.{mangled.removeprefix('x_')}"


def mutant_of(name: str, diff: str) -> Mutant:
    """One of mutmut's, from what ``mutmut show`` prints."""
    changed = [line for line in diff.splitlines() if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
    was, now = ("\n".join(line[1:].strip() for line in changed if line[0] == sign) for sign in "-+")
    return Mutant(function_of(name), was, now)


def of_functions(folder: Path) -> tuple[Counter[str], dict[Mutant, str]]:
    """mutmut's results: how many have each status, and the mutants that no test noticed."""
    lines = (line.strip().rpartition(": ") for line in _mutmut(folder, "results", "--all", "true").splitlines())
    status = {name: status for name, _, status in lines if name}
    left = [name for name in status if status[name] not in {*NOTICED, UNCHECKED}]
    return Counter(status.values()), {mutant_of(name, _mutmut(folder, "show", name)): status[name] for name in left}


def of_tables(file: Path) -> tuple[Counter[str], dict[Mutant, str]]:
    """The results of tables.py, in the same form."""
    found = [(Mutant(**mutant), status) for status, mutant in json.loads(file.read_text())] if file.exists() else []
    left = {mutant: status for mutant, status in found if status not in NOTICED}
    return Counter(status for _, status in found), left


def read_accepted(text: str) -> dict[Mutant, str]:
    """The reason for each accepted mutant. Raises ValueError for one without."""
    found: dict[Mutant, str] = {}
    for entry in tomllib.loads(text).get("accepted", []):
        mutant = Mutant(entry["function"], entry["was"], entry["now"])
        if not entry.get("why"):
            raise ValueError(f"accepted without a reason: {mutant}")
        found[mutant] = entry["why"]
    return found


def report(counts: Counter[str], survivors: Mapping[Mutant, str], accepted: Mapping[Mutant, str]) -> Iterator[str]:
    """What is left to do, then the score."""
    for mutant, status in sorted(survivors.items()):
        if mutant not in accepted:
            yield f"# {status}\n[[accepted]]"
            yield from (f"{name} = {_toml(text)}" for name, text in mutant._asdict().items())
            yield 'why = ""\n'
    for mutant in stale(counts, survivors, accepted):
        yield f"# no longer survives: remove it from {ACCEPTED.name}\n#   {mutant.function}: {mutant.now}\n"
    checked = counts.total() - counts[UNCHECKED]
    noticed = sum(counts[status] for status in NOTICED)
    yield ", ".join(f"{number} {status}" for status, number in counts.most_common())
    yield f"{noticed} of {checked} mutants noticed, {noticed / max(1, checked):.1%}"


def stale(counts: Counter[str], survivors: Mapping[Mutant, str], accepted: Mapping[Mutant, str]) -> list[Mutant]:
    """Accepted mutants that are gone or killed by now. None are called so while some are unchecked."""
    return [] if counts[UNCHECKED] else sorted(set(accepted) - set(survivors))


def _toml(text: str) -> str:
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False) if "'''" in text else f"'''{text}'''"


def _mutmut(folder: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def main(folder: Path) -> int:
    counts, survivors = of_functions(folder / "functions")
    more, others = of_tables(folder / "tables.json")
    counts, survivors = counts + more, survivors | others
    accepted = read_accepted(ACCEPTED.read_text())
    print("\n".join(report(counts, survivors, accepted)))
    return int(bool(set(survivors) - set(accepted) or stale(counts, survivors, accepted)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
