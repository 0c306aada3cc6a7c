"""Runs the fuzz target, with the table of hostile packets as its corpus: a short run always, a long one as a soak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.radius.hostile import CASES


def fuzz(corpus: Path, *options: str, seconds: float) -> None:
    for at, case in enumerate(CASES):
        for flags in (0, 7):
            (corpus / f"{at}-{flags}").write_bytes(bytes((flags,)) + case.octets)
    target = Path(__file__).parent / "fuzz_packet.py"
    command = [sys.executable, str(target), "-max_len=4200", f"-artifact_prefix={corpus}/"]
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
