"""The fuzz target runs for a while in every test run, from the table of hostile packets as its corpus; longer in a soak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.radius.fuzz_packet import one_input
from tests.radius.hostile import CASES, Case


def fuzz(corpus: Path, *options: str, seconds: float) -> None:
    for at, case in enumerate(CASES):
        for flags in (0, 7):
            (corpus / f"{at}-{flags}").write_bytes(bytes((flags,)) + case.octets)
    command = [sys.executable, "-m", "tests.radius.fuzz_packet", "-max_len=4200", "-artifact_prefix=./"]
    done = subprocess.run(
        [*command, *options, str(corpus)], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr


def test_the_codec_survives_a_short_fuzz(tmp_path: Path) -> None:
    fuzz(tmp_path, "-runs=40000", "-seed=1812", seconds=120)


@pytest.mark.soak
def test_the_codec_survives_a_long_fuzz(tmp_path: Path) -> None:
    fuzz(tmp_path, "-runs=20000000", "-max_total_time=600", seconds=700)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_passes_the_fuzz_target(case: Case) -> None:
    for flags in range(8):
        one_input(bytes((flags,)) + case.octets)
