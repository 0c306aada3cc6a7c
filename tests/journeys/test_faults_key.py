"""A master key that cannot be used: the server does not start, and says what to do."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.faults import refuses_to_start, running_sekisho


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda key: key.unlink(), "there is no master key file {key}: restore it from your backup"),
        (lambda key: key.write_bytes(base64.b64encode(bytes(32))), "{key} is not the master key of the store"),
        (lambda key: key.chmod(0o640), "the master key file {key} can be read by others: run `chmod 600 {key}`"),
        (lambda key: key.chmod(0o604), "the master key file {key} can be read by others: run `chmod 600 {key}`"),
        (lambda key: key.write_text("not base64"), "the master key file {key} is damaged"),
        (lambda key: key.write_bytes(base64.b64encode(bytes(31))), "the master key file {key} is damaged"),
        (lambda key: key.write_bytes(b"\xff\xfe"), "cannot read the master key file {key}"),
    ],
    ids=["missing", "another", "group may read", "others may read", "no base64", "short", "no text"],
)
def test_a_master_key_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], object], line: str) -> None:
    key = tmp_path / "master.key"
    with running_sekisho(tmp_path) as sekisho:
        good = key.read_bytes()
        spoil(key)
        refuses_to_start(sekisho, line.format(key=key))
        if key.exists():
            assert key.read_text("latin-1").strip() not in sekisho.log_text()
        key.unlink(missing_ok=True)
        key.write_bytes(good)
        key.chmod(0o600)
        sekisho.start()


def test_a_master_key_that_cannot_be_used_by_workers(tmp_path: Path) -> None:
    """Found out before any of them is started."""
    with running_sekisho(tmp_path, workers=2) as sekisho:
        (tmp_path / "master.key").unlink()
        refuses_to_start(sekisho, "there is no master key file")
        assert "worker" not in sekisho.log_text().replace("radius.workers", "")
