"""A settings file of an earlier version: every renamed key still works, with a warning that gives the new form."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from otp_core.settings.renamed import former_names
from otp_core.settings.schema import is_model, kind_at
from pam_module.agent_settings import AgentFile, load_agent
from sekisho.settings import Settings, load
from tests.core.settings_files import CLIENT, SECRET, STORE, good, report, warnings, written

OLD = (
    STORE
    + "[throttle]\nmax_tracked = 7\n"
    + CLIENT
    + "join_seconds = 5\n"
    + '[pam]\nopen = true\ntyping_seconds = 60\n[[pam.profiles]]\nname = "a"\n'
)


def test_a_file_of_0_1_0_means_what_it_meant(tmp_path: Path) -> None:
    settings = good(tmp_path, OLD).settings
    assert settings.throttle.password_max_tracked == 7
    assert settings.radius.clients[0].repeated_login_seconds == 5
    assert settings.pam and (settings.pam.allow_all_users, settings.pam.prompt_seconds) == (True, 60)


def test_each_renamed_key_is_a_warning_at_its_line_with_the_new_form(tmp_path: Path) -> None:
    said = [one for one in warnings(good(tmp_path, OLD), tmp_path) if "is called" in one]
    assert said == [
        "sekisho.toml:5: throttle.max_tracked: is called password_max_tracked now: write password_max_tracked in its "
        "place",
        "sekisho.toml:10: radius.clients[0].join_seconds: is called repeated_login_seconds now: write "
        "repeated_login_seconds in its place",
        "sekisho.toml:12: pam.open: is called allow_all_users now: write allow_all_users in its place",
        "sekisho.toml:13: pam.typing_seconds: is called prompt_seconds now: write prompt_seconds in its place",
    ]


def test_a_problem_with_a_renamed_key_is_told_at_its_line(tmp_path: Path) -> None:
    assert report(tmp_path, OLD.replace("join_seconds = 5", "join_seconds = 99")) == [
        "sekisho.toml:10: radius.clients[0].repeated_login_seconds: is too large: 60 is the most"
    ]


def test_both_names_at_once_are_refused(tmp_path: Path) -> None:
    (said,) = report(tmp_path, STORE + "[throttle]\nmax_tracked = 7\npassword_max_tracked = 8\n")
    assert said.startswith("sekisho.toml:") and "throttle.max_tracked: unknown key; did you mean" in said


def test_of_both_names_the_former_one_is_the_problem_at_its_own_line(tmp_path: Path) -> None:
    for text in ("max_tracked = 7\npassword_max_tracked = 8\n", "password_max_tracked = 8\nmax_tracked = 7\n"):
        (said,) = report(tmp_path, f"{STORE}[throttle]\n{text}")
        line = 5 if text.startswith("max_tracked") else 6
        assert said == f"sekisho.toml:{line}: throttle.max_tracked: unknown key; did you mean password_max_tracked?"


def test_both_variables_at_once_are_refused_too(tmp_path: Path) -> None:
    environment = {"SEKISHO_THROTTLE__MAX_TRACKED": "9", "SEKISHO_THROTTLE__PASSWORD_MAX_TRACKED": "8"}
    assert report(tmp_path, STORE, environment) == [
        "environment SEKISHO_THROTTLE__MAX_TRACKED: throttle.max_tracked: unknown key; did you mean "
        "password_max_tracked?"
    ]


def test_a_variable_of_todays_name_outranks_the_former_name_in_the_file(tmp_path: Path) -> None:
    loaded = good(tmp_path, OLD, {"SEKISHO_THROTTLE__PASSWORD_MAX_TRACKED": "8"})
    assert loaded.settings.throttle.password_max_tracked == 8
    at = loaded.sources.exactly(("throttle", "password_max_tracked"))
    assert at == "environment SEKISHO_THROTTLE__PASSWORD_MAX_TRACKED"


def test_a_table_or_a_list_that_a_variable_gives_whole_may_have_former_names(tmp_path: Path) -> None:
    environment = {
        "SEKISHO_THROTTLE": "{ max_tracked = 9 }",
        "SEKISHO_RADIUS__CLIENTS": f'[{{ name = "a", network = "::1", secret = "{SECRET}", join_seconds = 3 }}]',
    }
    loaded = good(tmp_path, STORE, environment)
    assert loaded.settings.throttle.password_max_tracked == 9
    assert loaded.settings.radius.clients[0].repeated_login_seconds == 3
    assert [one for one in warnings(loaded, tmp_path) if "is called" in one] == [
        "environment SEKISHO_RADIUS__CLIENTS: radius.clients[0].join_seconds: is called repeated_login_seconds now: "
        "write repeated_login_seconds in its place",
        "environment SEKISHO_THROTTLE: throttle.max_tracked: is called password_max_tracked now: write "
        "password_max_tracked in its place",
    ]


def test_a_variable_and_a_secrets_file_may_have_the_former_name_too(tmp_path: Path) -> None:
    loaded = good(tmp_path, STORE, {"SEKISHO_THROTTLE__MAX_TRACKED": "9"})
    assert loaded.settings.throttle.password_max_tracked == 9
    (said,) = warnings(loaded, tmp_path)
    assert said == (
        "environment SEKISHO_THROTTLE__MAX_TRACKED: throttle.max_tracked: is called password_max_tracked now: write "
        "password_max_tracked in its place"
    )
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "throttle__max_tracked").write_text("11")
    (tmp_path / "secrets" / "throttle__max_tracked").chmod(0o600)
    loaded = load(written(tmp_path, STORE), environment={}, secrets_dir=tmp_path / "secrets")
    assert loaded.settings.throttle.password_max_tracked == 11
    assert len(loaded.warnings) == 1


def test_the_agents_file_too(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'[agent]\nservers = ["127.0.0.1:1812"]\nsecret = "{SECRET}"\nopen = true\ntyping_seconds = 9\n')
    loaded = load_agent(file, environment={})
    assert (loaded.agent.allow_all_users, loaded.agent.prompt_seconds) == (True, 9)
    assert [str(one).partition(": ")[2] for one in loaded.warnings] == [
        "agent.open: is called allow_all_users now: write allow_all_users in its place",
        "agent.typing_seconds: is called prompt_seconds now: write prompt_seconds in its place",
    ]


def test_a_former_name_with_a_value_of_the_wrong_type_is_one_problem(tmp_path: Path) -> None:
    assert report(tmp_path, STORE + "[throttle]\nmax_tracked = [{ max_tracked = 1 }]\n") == [
        "sekisho.toml:5: throttle.password_max_tracked: needs a whole number, without quotes"
    ]


@pytest.mark.parametrize("schema", [Settings, AgentFile])
def test_no_former_name_is_a_key_of_today(schema: type[BaseModel]) -> None:
    """Otherwise a file could not be read in one way only."""
    for section in schema.model_fields:
        table = kind_at((section,), schema)
        if is_model(table):
            assert not set(former_names(table)) & set(table.model_fields)
