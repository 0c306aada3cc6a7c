"""Debian's configuration is measured as it was shipped or not at all; and FreeRADIUS demands the code either way."""

import os
from pathlib import Path

import pytest

from benchmarks import freeradius_debian, probes
from benchmarks.contender import Contender
from benchmarks.freeradius import FreeRadiusStripped
from benchmarks.freeradius_debian import CHANGES, Change, FreeRadiusDebian
from benchmarks.processes import Unusable

CUSTOMERS = 20

needs_shipped = pytest.mark.skipif(
    not os.access("/etc/freeradius/3.0", os.X_OK),
    reason="needs the right to read /etc/freeradius, which Debian keeps to root",
)


def test_each_time_a_line_is_there_gets_its_own_text(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("port = 0\n# port = 0\nport = 0\n")
    freeradius_debian.apply(
        [Change("site", "port = 0", ("port = @{a}", "port = @{b}"))], tmp_path, {"a": "1", "b": "2"}
    )
    assert (tmp_path / "site").read_text() == "port = 1\n# port = 0\nport = 2\n"


@pytest.mark.parametrize("shipped", ["port = 0\n", "port = 0\nport = 0\nport = 0\n", "port = 1812\n", ""])
def test_a_file_that_is_not_as_expected_is_not_measured(tmp_path: Path, shipped: str) -> None:
    (tmp_path / "site").write_text(shipped)
    with pytest.raises(Unusable, match=r"site has 'port = 0' . times, not 2"):
        freeradius_debian.apply([Change("site", "port = 0", ("port = 1", "port = 2"))], tmp_path, {})


@needs_shipped
def test_the_copy_differs_from_the_package_in_the_changes_alone(tmp_path: Path) -> None:
    freeradius_debian.copy_shipped(tmp_path / "raddb")
    copies = {path.relative_to(tmp_path / "raddb") for path in (tmp_path / "raddb").rglob("*") if path.is_file()}
    changed = {Path(change.file) for change in CHANGES}
    assert changed <= copies
    assert Path("mods-enabled/eap") in copies
    assert Path("mods-enabled/totp") not in copies
    for path in copies:
        assert (tmp_path / "raddb" / path).read_bytes() == (Path("/etc/freeradius/3.0") / path).read_bytes()


@pytest.mark.parametrize(
    "contender",
    [pytest.param(FreeRadiusDebian(), marks=needs_shipped), FreeRadiusStripped()],
    ids=lambda one: str(one.name),
)
def test_the_right_code_and_nothing_else_gets_in(tmp_path: Path, contender: Contender) -> None:
    with contender.start(tmp_path, CUSTOMERS) as running:
        assert probes.answers(contender, running.door, CUSTOMERS) == dict(contender.answers)
