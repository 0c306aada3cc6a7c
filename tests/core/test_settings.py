"""The settings' promises: who outranks whom, every problem at once and in its place, and what is only a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from os.path import relpath
from pathlib import Path

import pytest
from pydantic import ValidationError

from otp_core.model import Language, Mode
from otp_core.settings import Address, ConfigProblems, Problem
from otp_core.settings.explain import explain
from otp_core.settings.named_files import follow
from sekisho.settings import Settings, load
from tests.core.settings_files import BY_FILE, CLIENT, SECRET, STORE, good, private, report, warnings

# What holds when little is said.


def test_a_store_is_all_that_must_be_given(tmp_path: Path) -> None:
    loaded = good(tmp_path)
    settings = loaded.settings
    assert (loaded.path, loaded.warnings) == (tmp_path / "sekisho.toml", ())
    assert settings.store.url == "sqlite:///s.db"
    assert settings.radius.listen == (Address("0.0.0.0", 1812), Address("::", 1812))
    assert settings.radius.clients == ()
    assert (settings.login.lock_after, settings.password.memory_kib, settings.throttle.max_delay) == (10, 19_456, 30.0)
    assert (settings.web, settings.pam) == (None, None)


def test_a_door_that_is_named_has_its_defaults(tmp_path: Path) -> None:
    settings = good(tmp_path, STORE + "[web]\n[pam]\n").settings
    assert settings.web and str(settings.web.listen) == "127.0.0.1:8080"
    assert settings.pam and settings.pam.socket == Path("/run/sekisho/pam.sock")


def test_a_client_is_safe_by_default(tmp_path: Path) -> None:
    (client,) = good(tmp_path, STORE + CLIENT).settings.radius.clients
    assert (client.secret.get_secret_value(), str(client.network)) == (SECRET.encode(), "10.1.0.0/16")
    assert (client.require_message_authenticator, client.limit_proxy_state, client.repeated_login_seconds) == (
        True,
        True,
        0,
    )
    assert (client.mode, client.language, client.charset) == (Mode.CHALLENGE, Language.JA, "utf-8")
    assert (client.without_token, client.suspended, client.lost) == ("password", None, None)
    assert client.without_password == "reject"
    assert (client.prompt, client.reject_delay, client.reply_max) == ("no-echo", 1.0, 1024)


def test_what_a_client_leaves_out_it_takes_from_the_section(tmp_path: Path) -> None:
    text = (
        STORE
        + '[radius]\nprompt = "echo"\nreject_delay = 2\n[radius.reply_messages]\nchallenge = "A"\nreject = "B"\n'
        + CLIENT
        + '[[radius.clients]]\nname = "b"\nnetwork = "10.2.0.0/16"\nsecret_file = "b"\nreject_delay = 0.5\n'
        + 'prompt = "none"\nreply_messages = { reject = "C" }\n'
    )
    private(tmp_path / "b", b"\xffbinary, and spaces at the end  \n", 0o640)
    first, second = good(tmp_path, text).settings.radius.clients
    assert (first.prompt, first.reject_delay, second.prompt, second.reject_delay) == ("echo", 2.0, "none", 0.5)
    assert (first.reply_messages.challenge, first.reply_messages.reject) == ("A", "B")
    assert (second.reply_messages.challenge, second.reply_messages.reject) == ("A", "C")
    assert second.secret.get_secret_value() == b"\xffbinary, and spaces at the end  "


def test_values_never_change() -> None:
    settings = Settings(store={"url": "sqlite:///s.db", "master_key_file": "k"})  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        settings.login.lock_after = 99
    with pytest.raises(ValidationError):
        settings.login = settings.login


def test_settings_may_be_made_of_values_that_are_read_already() -> None:
    network, address = ip_network("10.0.0.0/24"), Address("127.0.0.1", 0)
    client = {"name": "a", "network": network, "secret": SECRET}
    store = {"url": "sqlite:///s.db", "master_key_file": "k"}
    settings = Settings.model_validate({"store": store, "radius": {"listen": [address], "clients": [client]}})
    assert (settings.radius.listen, settings.radius.clients[0].network) == ((address,), network)


def test_a_kind_of_problem_without_words_of_its_own_is_told_all_the_same() -> None:
    kind = {"type": "string_unicode", "loc": ("log", "level"), "input": SECRET}
    told = explain(ValidationError.from_exception_data("Settings", [kind]), frozenset(), Settings)  # type: ignore[list-item]
    assert told == {("log", "level"): "Input should be a valid string, unable to parse raw data as a unicode string"}


# Rank: environment, secrets folder, file.


def test_the_environment_outranks_the_folder_which_outranks_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, text in {
        "store__url": "sqlite:///folder.db\n",
        "login__lock_after": "5",
        "log__level": "error",
        "log__format": "json",
        ".hidden__file": "x",
        "vpn.secret": "not a setting",
    }.items():
        private(folder / name, text, 0o400)
    environment = {
        "SEKISHO_LOG__LEVEL": "debug",
        "SEKISHO_SECRETS_DIR": str(folder),
        "HOME": "/",
        "SEKISHO_CONFIG": "x",
    }
    loaded = good(tmp_path, STORE + '[log]\nlevel = "info"\nformat = "text"\n[login]\ncode_window = 0', environment)
    settings = loaded.settings
    assert (settings.store.url, settings.log.level, settings.log.format) == ("sqlite:///folder.db", "debug", "json")
    assert (settings.login.lock_after, settings.login.code_window, loaded.warnings) == (5, 0, ())
    assert loaded.sources.exactly(("log", "level")) == "environment SEKISHO_LOG__LEVEL"
    assert loaded.sources.exactly(("store", "url")) == str(folder / "store__url")


def test_without_a_file_everything_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {
        "SEKISHO_STORE": '{ url = "sqlite:////s.db", master_key_file = "/k" }',
        "SEKISHO_RADIUS__LISTEN": '["[::1]:1812"]',
        "SEKISHO_RADIUS__CLIENTS": f'[{{ name = "a", network = "::1", secret = "{SECRET}", mode = "code" }}]',
        "SEKISHO_RADIUS__REJECT_DELAY": "0.25",
        "SEKISHO_LOGIN__ONE_CUSTOMER_PER_TOKEN": "false",
    }
    loaded = load(None, environment=environment)
    assert loaded.settings.store.master_key_file == Path("/k")
    assert loaded.settings.radius.listen == (Address("::1", 1812),)
    assert loaded.settings.radius.clients[0].mode is Mode.CODE
    assert loaded.settings.radius.clients[0].reject_delay == 0.25
    assert loaded.settings.login.one_customer_per_token is False


def test_a_list_from_the_environment_hides_the_files_list(tmp_path: Path) -> None:
    environment = {"SEKISHO_RADIUS__CLIENTS": '[{ network = "10.0.0.1/8", secret_file = "none" }]'}
    lines = report(tmp_path, STORE + CLIENT + CLIENT + "[log]\nlevel = 5", environment)
    assert lines == [
        "sekisho.toml:13: log.level: is not known; write 'debug', 'info', 'warning' or 'error'",
        "environment SEKISHO_RADIUS__CLIENTS: radius.clients[0].name: is missing",
        "environment SEKISHO_RADIUS__CLIENTS: radius.clients[0].network: 10.0.0.1/8 has host bits set; "
        "write 10.0.0.0/8 or 10.0.0.1/32",
        "environment SEKISHO_RADIUS__CLIENTS: radius.clients[0].secret_file: none cannot be read: "
        "No such file or directory",
    ]


def test_nothing_is_looked_up_behind_the_callers_back(tmp_path: Path) -> None:
    program = (
        "from sekisho.settings import Settings\n"
        "print(Settings(store={'url': 'sqlite:///s.db', 'master_key_file': 'k'}).log.level)"
    )
    environment = {"SEKISHO_LOG__LEVEL": "debug"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert done.stdout == b"info\n"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SEKISHO_STORE__URRL", "x", "store.urrl: unknown key; did you mean url?"),
        ("SEKISHO_STOER__URL", "x", "stoer: unknown key; did you mean store?"),
        ("SEKISHO_LOGIN__LOCK_AFTER", "many", "login.lock_after: needs a whole number, without quotes"),
        ("SEKISHO_LOGIN__LOCK_AFTER", "1\nx = 2", "login.lock_after: needs a whole number, without quotes"),
        ("SEKISHO_LOGIN__LOCK_AFTER", "0", "login.lock_after: is too small: 1 is the least"),
        ("SEKISHO_RADIUS__LISTEN", "0.0.0.0:1812", 'radius.listen: needs a list: ["…", "…"]'),
        ("SEKISHO_LOG__LEVEL", "\udcff", "is not UTF-8"),
        ("SEKISHO_RADIUS__CLIENTS__0__SECRET", SECRET, "radius.clients.0.secret: radius.clients is given whole, by "
         "SEKISHO_RADIUS__CLIENTS"),
        ("SEKISHO_LOG__LEVEL__X", "x", "log.level.x: log.level is given whole, by SEKISHO_LOG__LEVEL"),
    ],
)  # fmt: skip
def test_a_problem_from_the_environment_names_the_variable(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    assert report(tmp_path, environment={name: value}) == [f"environment {name}: {expected}"]


def test_what_is_missing_everywhere_names_its_variable_when_there_is_no_file() -> None:
    with pytest.raises(ConfigProblems) as caught:
        load(None, environment={"SEKISHO_STORE__URL": "sqlite:///s.db"})
    missing = Problem("environment SEKISHO_STORE__MASTER_KEY_FILE", "store.master_key_file", "is missing")
    assert caught.value.problems == (missing,)


def test_a_table_that_is_no_table_hides_no_other_variable(tmp_path: Path) -> None:
    lines = report(tmp_path, environment={"SEKISHO_LOG": "loud", "SEKISHO_LOG__LEVEL": "info"})
    assert lines == [
        "environment SEKISHO_LOG: log: needs a table",
        "environment SEKISHO_LOG__LEVEL: log.level: another one has given the whole table, and not as a table",
    ]


def test_a_variable_that_names_no_section_is_left_alone_with_a_warning(tmp_path: Path) -> None:
    loaded = good(tmp_path, environment={"SEKISHO_STORE_URL": "x", "SEKISHO_SERVICE_HOST": "10.0.0.1"})
    assert warnings(loaded, tmp_path) == [
        "environment SEKISHO_SERVICE_HOST: is no setting, and is not used",
        "environment SEKISHO_STORE_URL: is no setting, and is not used; did you mean SEKISHO_STORE__URL?",
    ]


# The file itself.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[store]\nurl = sqlite", "sekisho.toml:2: not TOML, column 7: Invalid value"),
        (b'[store]\nurl = """\n\n', "sekisho.toml:2: not TOML, at the end of the file: Unterminated string"),
        (b"[store]\n# caf\xe9\n", "sekisho.toml:2: is not UTF-8"),
        (None, "sekisho.toml: cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_not_understood_is_the_only_problem(tmp_path: Path, text: bytes | None, expected: str) -> None:
    path = tmp_path / "sekisho.toml"
    if text is None:
        path.mkdir()
    else:
        path.write_bytes(text)
    with pytest.raises(ConfigProblems) as caught:
        load(path, environment={"SEKISHO_LOG__LEVEL": "loud"})
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = f"""\
[store]
urll = "sqlite:///s.db"

[[radius.clients]]
name = "vpn"
network = "10.1.2.3/16"
secret = "{SECRET}"
secret_file = "vpn"
[[radius.clients]]
name = "vpn"
network = "10.1.0.0/16"
secret = 5
mood = "code"
[[radius.clients]]
network = "10.1.0.0/255.255.0.0"
[logging]
"""
    assert report(tmp_path, text, {"SEKISHO_WEB__LISTEN": "::1:80"}) == [
        "sekisho.toml:1: store.url: is missing",
        "sekisho.toml:1: store.master_key_file: is missing",
        "sekisho.toml:2: store.urll: unknown key; did you mean url?",
        "sekisho.toml:6: radius.clients[0].network: 10.1.2.3/16 has host bits set; "
        "write 10.1.0.0/16 or 10.1.2.3/32",
        "sekisho.toml:8: radius.clients[0].secret_file: secret is given as well: keep one of the two",
        "sekisho.toml:10: radius.clients[1].name: vpn is given twice; the first is at "
        "sekisho.toml:5",
        "sekisho.toml:12: radius.clients[1].secret: needs text in quotes",
        "sekisho.toml:13: radius.clients[1].mood: unknown key; did you mean mode?",
        "sekisho.toml:14: radius.clients[2].name: is missing",
        "sekisho.toml:14: radius.clients[2].secret: is missing: give secret or secret_file",
        "sekisho.toml:15: radius.clients[2].network: 10.1.0.0/16 is given twice; the first is at sekisho.toml:11",
        "sekisho.toml:16: logging: unknown key; did you mean login?",
        'environment SEKISHO_WEB__LISTEN: web.listen: ::1:80 needs brackets around the IPv6 address, and a port: '
        '"[2001:db8::1]:1812"',
    ]  # fmt: skip


def test_a_section_that_is_wrong_does_not_make_its_clients_wrong(tmp_path: Path) -> None:
    assert report(tmp_path, STORE + "[radius]\nprompt = 1\nreply_messages = 2\n" + CLIENT) == [
        "sekisho.toml:5: radius.prompt: is not known; write 'no-echo', 'echo' or 'none'",
        "sekisho.toml:6: radius.reply_messages: needs a table",
    ]


def test_sections_of_the_wrong_type_are_told_and_do_no_harm(tmp_path: Path) -> None:
    assert report(tmp_path, "store = 5\nradius = 5") == [
        "sekisho.toml:1: store: needs a table",
        "sekisho.toml:2: radius: needs a table",
    ]


def test_nothing_at_all_is_a_missing_store(tmp_path: Path) -> None:
    assert report(tmp_path, "") == [
        "sekisho.toml: store.url: is missing",
        "sekisho.toml: store.master_key_file: is missing",
    ]


# Files that the settings name.


def test_relative_names_start_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "dictionary.acme").write_text("")
    settings = good(tmp_path, STORE + '[radius]\ndictionary = ["dictionary.acme"]').settings
    assert settings.store.master_key_file == tmp_path / "master.key"
    assert settings.radius.dictionary == (tmp_path / "dictionary.acme",)


def test_relative_names_of_secrets_start_in_the_secrets_folder_if_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    private(folder / "vpn", SECRET + "\r\n", 0o400)
    text = STORE + BY_FILE
    for more in (
        {"secrets_dir": folder},
        {"environment": {"CREDENTIALS_DIRECTORY": str(folder)}},
        {"environment": {"CREDENTIALS_DIRECTORY": "/none", "SEKISHO_SECRETS_DIR": str(folder)}},
    ):
        settings = good(tmp_path, text, **more).settings
        assert settings.store.master_key_file == folder / "master.key"
        assert settings.radius.clients[0].secret_file == folder / "vpn"
        assert settings.radius.clients[0].secret.get_secret_value() == SECRET.encode()
    assert good(tmp_path, secrets_dir=Path(relpath(folder))).settings.store.master_key_file.is_absolute()


def test_following_names_leaves_what_it_was_given_as_it_was(tmp_path: Path) -> None:
    given = {"store": {"master_key_file": "k"}, "radius": {"clients": [{"secret_file": "vpn"}]}}
    followed, problems, _ = follow(given, Settings, tmp_path, tmp_path)
    assert followed["store"] == {"master_key_file": str(tmp_path / "k")}
    assert list(problems) == [("radius", "clients", 0, "secret_file")]
    assert given == {"store": {"master_key_file": "k"}, "radius": {"clients": [{"secret_file": "vpn"}]}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "none cannot be read: No such file or directory"),
        ("folder", "folder is not a file"),
        ("open", "open can be read by everybody: chmod o-rwx open"),
        ("large", "large is too large for a secret"),
        ("weak", "is a well-known secret; make one with: openssl rand -base64 24"),
        ("\\u0000", "is not the name of a file"),
    ],
)
def test_a_secret_file_that_cannot_serve_is_told_at_its_line(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    for file, text, mode in (("open", SECRET, 0o604), ("large", "x" * 65_537, 0o600), ("weak", "radius\n", 0o600)):
        private(tmp_path / file, text, mode)
    text = STORE + CLIENT.replace(f'secret = "{SECRET}"', f'secret_file = "{name}"')
    assert report(tmp_path, text) == [f"sekisho.toml:7: radius.clients[0].secret_file: {expected}"]


def test_a_secret_file_of_the_wrong_type_is_not_a_missing_secret_too(tmp_path: Path) -> None:
    assert report(tmp_path, STORE + BY_FILE.replace('secret_file = "vpn"', "secret_file = 5")) == [
        "sekisho.toml:7: radius.clients[0].secret_file: needs the name of a file, in quotes"
    ]


def test_a_secrets_folder_that_cannot_serve_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert report(tmp_path, secrets_dir=folder) == [
        "secrets: the secrets folder cannot be read: No such file or directory"
    ]
    folder.mkdir()
    for name, octets, mode in (
        ("log__level", b"\xff", 0o600),
        ("store__url", b"x", 0o644),
        ("log__form", b"json", 0o600),
    ):
        private(folder / name, octets, mode)
    assert report(tmp_path, secrets_dir=folder) == [
        "secrets/log__form: log.form: unknown key; did you mean format?",
        "secrets/log__level: is not UTF-8",
        "secrets/store__url: secrets/store__url can be read by everybody: chmod o-rwx secrets/store__url",
    ]


# The PAM door's profiles.


def test_profiles_are_checked_like_everything_else(tmp_path: Path) -> None:
    text = STORE + (
        "[pam]\nmax_per_user = 0\n"
        '[[pam.profiles]]\nname = "a"\nservices = ["sshd"]\nenrol_until = "soon"\nmode = "both"\n'
        '[[pam.profiles]]\nname = "a"\nservices = ["su", "sshd"]\nnetworks = ["10.1.2.3/8"]\n'
        'texts_en = { code = "a\\nb" }\n'
    )
    assert report(tmp_path, text) == [
        "sekisho.toml:5: pam.max_per_user: is too small: 1 is the least",
        "sekisho.toml:9: pam.profiles[0].enrol_until: needs a day: 2027-03-31",
        "sekisho.toml:10: pam.profiles[0].mode: is not known; write 'auto', 'challenge', 'append', 'together', 'code' "
        "or 'password'",
        "sekisho.toml:12: pam.profiles[1].name: a is given twice; the first is at sekisho.toml:7",
        "sekisho.toml:13: pam.profiles[1].services[1]: sshd is given twice; the first is at sekisho.toml:8",
        "sekisho.toml:14: pam.profiles[1].networks[0]: 10.1.2.3/8 has host bits set; write 10.0.0.0/8 or 10.1.2.3/32",
        "sekisho.toml:15: pam.profiles[1].texts_en: code needs 1 to 1024 octets of printable text, without line ends",
    ]


# Names of what is no file.


@pytest.mark.parametrize("what", ["/dev/zero", "pipe", "long"])
def test_settings_that_are_no_file_or_endless_are_refused_at_once(tmp_path: Path, what: str) -> None:
    """/dev/zero would be read until the memory is full, and a pipe waited for."""
    named = tmp_path / what
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(ConfigProblems) as caught:
        load(named, environment={})
    why = "longer than 16,777,216 octets" if what == "long" else "no regular file"
    assert str(caught.value) == f"{named}: cannot be read: it is {why}"
