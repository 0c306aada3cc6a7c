"""What of the serving process is plain calls: where its settings come from, and how it writes its log."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from otp_core import logs
from otp_core.settings import ConfigProblems
from sekisho.serve import Configuration, leave_start_out_of_collections
from tests.sekisho import Sekisho, client_table

CLIENT = client_table("gateway", "127.0.0.0/8", "code")


# Where the settings come from.


def test_a_configuration_can_be_read_again_and_again(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, clients=CLIENT)
    configuration = Configuration(sekisho.config, None, {})
    assert [client.name for client in configuration.read().settings.radius.clients] == ["gateway"]
    sekisho.clients += client_table("another", "192.0.2.0/24", "code")
    sekisho.write_config()
    assert [client.name for client in configuration.read().settings.radius.clients] == ["gateway", "another"]
    sekisho.close()


def test_the_environment_it_was_given_outranks_the_file(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, clients=CLIENT)
    configuration = Configuration(sekisho.config, None, {"SEKISHO_LOGIN__LOCK_AFTER": "3"})
    assert configuration.read().settings.login.lock_after == 3
    sekisho.close()


def test_what_only_a_door_can_find_is_found_before_anything_starts(tmp_path: Path) -> None:
    """A reply attribute that no dictionary has."""
    sekisho = Sekisho(tmp_path, clients=CLIENT + "[radius.clients.reply_attributes]\nNo-Such-Attribute = 1\n")
    with pytest.raises(ConfigProblems, match="No-Such-Attribute"):
        Configuration(sekisho.config, None, {}).read()
    sekisho.close()


def test_a_file_that_became_wrong_is_a_problem_that_says_where(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, clients=CLIENT)
    configuration = Configuration(sekisho.config, None, {})
    sekisho.config.write_text("[store]\nurl = 1\n")
    with pytest.raises(ConfigProblems, match="url"):
        configuration.read()
    sekisho.close()


# Memory.


def test_the_collector_of_cycles_has_nothing_of_the_start_to_look_through() -> None:
    before = len(gc.get_objects())
    leave_start_out_of_collections()
    try:
        assert gc.get_freeze_count() > before / 2
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()


def test_a_start_without_pages_imports_nothing_that_serves_them() -> None:
    of_pages = {"aiohttp", "jinja2", "prometheus_client"}
    program = f"import sekisho.serve, sys; print(*{of_pages} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# The log.


@pytest.fixture(autouse=True)
def _usual_log() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def login(secret: str) -> None:
    """A mistake with a secret at hand."""
    raise ZeroDivisionError(f"a mistake, {len(secret)} octets long")


def say(format_: str, level: str = "info") -> None:
    logs.configure(level, format_)
    log = structlog.get_logger("test")
    log.debug("quiet")
    log.warning("aloud", customer="お客さま")
    try:
        login("himi" + "tsu")
    except ZeroDivisionError:
        log.exception("failed")
    logs.flush(20)


def test_text_is_for_people_and_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("text")
    said = capsys.readouterr()
    assert said.out == ""
    assert "aloud" in said.err and "customer=お客さま" in said.err and "ZeroDivisionError" in said.err
    assert "quiet" not in said.err


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("json")
    warning, failure = map(json.loads, capsys.readouterr().err.splitlines())
    assert (warning["event"], warning["level"], warning["customer"]) == ("aloud", "warning", "お客さま")
    assert warning["timestamp"].endswith("Z")
    assert failure["exception"][0]["exc_type"] == "ZeroDivisionError"


@pytest.mark.parametrize("format_", ["text", "json"])
def test_no_traceback_shows_what_a_password_was(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(format_)
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "himitsu" not in said


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_only_lines_of_the_level_or_above_are_written(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level, "json")
    log = structlog.get_logger("test")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    logs.flush(20)
    written = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    numbers = logging.getLevelNamesMapping()
    assert written == [
        name for name in ("debug", "info", "warning", "error") if numbers[name.upper()] >= numbers[level.upper()]
    ]
