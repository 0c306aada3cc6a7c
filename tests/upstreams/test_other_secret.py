"""A FreeRADIUS that has another secret for us drops what we sign. It is told apart from one that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.command_line import run
from tests.sekisho import Sekisho, client_table
from tests.upstreams.freeradius import SECRET, freeradius, settings_of

OTHER = "what-we-believe-the-secret-is"


@pytest.mark.parametrize(("status_server", "asked"), [(True, "Status-Server"), (False, "login")])
def test_a_wrong_secret_is_told_from_silence(tmp_path: Path, status_server: bool, asked: str) -> None:
    with freeradius(tmp_path / "old", strict=False) as there:
        text = settings_of(there.port, status_server=status_server).replace(SECRET, OTHER)
        clients = client_table("gw", "127.0.0.1", "password", first_factor='"core-passwords"')
        config = ["--config", str(Sekisho(tmp_path, clients=clients, more=text).config)]
        words = ["--user", "taro", "--password-stdin"] if not status_server else []
        tried = run([*config, "upstream", "test", "core", *words], given="himitsu\n")
        (line,) = tried.out.splitlines()
        assert line.startswith(f"FAIL  127.0.0.1:{there.port}: {asked}: ") and tried.code == 1
        assert line.endswith("a reply with a wrong signature: is the shared secret right?")
        if status_server:
            assert "a reply with a wrong signature: is the shared secret right?" in run([*config, "doctor"]).out


def test_one_that_drops_all_of_it_is_said_to_be_silent_and_what_that_may_be(tmp_path: Path) -> None:
    with freeradius(tmp_path / "old") as there:
        text = settings_of(there.port).replace(SECRET, OTHER)
        clients = client_table("gw", "127.0.0.1", "password", first_factor='"core-passwords"')
        config = ["--config", str(Sekisho(tmp_path, clients=clients, more=text).config)]
        said = run([*config, "doctor"]).out
        assert "no reply; does it know this host as a client, and by this secret?" in said
