"""A second server on the same store, as for fail-over, for the journeys."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sekisho import Sekisho, free_port


@contextmanager
def second_node(sekisho: Sekisho, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The second server's process and port. ``sekisho`` must listen at one address with a fixed port."""
    port = free_port()
    config, log = folder / "second.toml", folder / "second.log"
    config.write_text(
        sekisho.config.read_text().replace(f'listen = ["127.0.0.1:{sekisho.port}"', f'listen = ["127.0.0.1:{port}"')
    )
    config.chmod(0o600)
    with log.open("wb") as lines:
        node = subprocess.Popen([sys.executable, "-m", "sekisho", "--config", str(config), "serve"], stderr=lines)
    try:
        end = time.monotonic() + 20
        while f"address=127.0.0.1:{port}" not in log.read_text() or "ready" not in log.read_text():
            if node.poll() is not None or time.monotonic() > end:
                raise AssertionError(log.read_text())
            time.sleep(0.02)
        yield node, port
    finally:
        node.kill()
        node.wait(10)
