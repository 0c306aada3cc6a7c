"""What is shown of the settings: never a secret, always a place; and the examples that are delivered are true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from admin_web.console.oidc.settings import OidcSettings
from otp_core.settings import (
    ConfigProblems,
    FirstFactorSettings,
    NoticesSettings,
    UpstreamSettings,
    VerifierSettings,
    describe_schema,
    markdown_table,
    show,
)
from otp_core.settings.reader import Given
from pam_module.settings import PamProfile
from radius_server.realms import RealmSettings
from radius_server.settings import ClientSettings
from sekisho.first_factor_checks import MADE_TYPES as MADE
from sekisho.settings import Settings, load
from tests.core.settings_files import CLIENT, SECRET, STORE, good, private, report, written
from tests.ldap.certificates import Authority

CONFIG = Path(__file__).parents[2] / "config"
PASSPHRASE = "correct-horse-battery-staple-42"

# No secret gets out.


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        (CLIENT.replace(f'"{SECRET}"', f'["{PASSPHRASE}"]'), {}),
        (CLIENT.replace(f'"{SECRET}"', f'{{ a = "{PASSPHRASE}" }}'), {}),
        (CLIENT.replace("secret", "secrt").replace(SECRET, PASSPHRASE), {}),
        (CLIENT.replace(SECRET, PASSPHRASE) + f'secret_file = "{SECRET}"', {}),
        (CLIENT.replace(SECRET, PASSPHRASE * 2), {}),
        (CLIENT.replace(SECRET, PASSPHRASE) + 'mode = "none"', {}),
        (CLIENT.replace(f'"{SECRET}"', PASSPHRASE), {}),
        (CLIENT.replace(f'"{SECRET}"', f'"{PASSPHRASE}'), {}),
        (f'[radius]\nclients = ["{PASSPHRASE}"]', {}),
        (f'[radius]\nclients = "{PASSPHRASE}"', {}),
        (f'radius = "{PASSPHRASE}"', {}),
        (CLIENT + f'reply_attributes.Tunnel-Password = ["{PASSPHRASE}", true]', {}),
        ("", {"SEKISHO_RADIUS__CLIENTS": f'[{{ secret = "{PASSPHRASE}" }}'}),
        ("", {"SEKISHO_RADIUS__CLIENTS__0__SECRET": PASSPHRASE}),
        ("", {"SEKISHO_STORE__URL": f"postgresql://sekisho:{PASSPHRASE}@db/sekisho"}),
    ],
)
def test_no_report_holds_a_secret(tmp_path: Path, text: str, environment: dict[str, str]) -> None:
    with pytest.raises(ConfigProblems) as caught:
        good(tmp_path, STORE + text, environment)
    assert PASSPHRASE not in f"{caught.value} {caught.value!r} {caught.value.problems}"
    assert PASSPHRASE not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_nothing_made_of_good_settings_holds_a_secret(tmp_path: Path) -> None:
    text = STORE + CLIENT.replace(SECRET, PASSPHRASE) + f'reply_attributes.Tunnel-Password = "{PASSPHRASE}"\n'
    loaded = load(written(tmp_path, text, 0o644), environment={})
    settings = loaded.settings
    shown = f"{loaded!r} {settings} {settings!r} {loaded.warnings} {show(settings)} {show(settings, loaded.sources)}"
    assert PASSPHRASE not in shown
    assert shown.count("********") >= 4
    assert PASSPHRASE not in settings.radius.clients[0].model_dump_json(exclude={"reply_attributes"})


def test_a_section_that_is_made_directly_keeps_its_secret_too() -> None:
    with pytest.raises(ValidationError) as caught:
        ClientSettings.model_validate({"name": "a", "network": "::1", "secret": [PASSPHRASE]})
    assert PASSPHRASE not in str(caught.value)


def test_what_pydantic_settings_is_handed_does_not_print_itself() -> None:
    given = Given(Settings, {"store": {"url": PASSPHRASE}})
    assert given.get_field_value(FieldInfo(), "store")[0] == given()["store"] == {"url": PASSPHRASE}
    assert PASSPHRASE not in f"{given} {given()}"


def test_debugging_pydantic_settings_prints_no_secret(tmp_path: Path) -> None:
    program = (
        "import logging, pathlib, sys\n"
        "from sekisho.settings import load\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "load(pathlib.Path(sys.argv[1]), environment={})"
    )
    path = written(tmp_path, STORE + CLIENT)
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, env={"PYDANTIC_SETTINGS_DEBUG": "1"}, capture_output=True, check=True, text=True)
    assert "Resolving settings" in done.stderr
    assert SECRET not in done.stderr


# What a reader sees.


def test_show_is_toml_with_the_place_of_every_value(tmp_path: Path) -> None:
    text = (
        STORE
        + '[radius]\nprompt = "echo"\n'
        + CLIENT
        + 'reply_attributes = { Class = [1, "b"], "Acme.Level" = "\\u007f" }\nreply_messages.reject = "いいえ"\n'
    )
    loaded = good(tmp_path, text, {"SEKISHO_LOG__LEVEL": "debug"})
    shown = show(loaded.settings, loaded.sources).replace(f"{tmp_path}/", "")
    for line in (
        'url = "sqlite:///s.db"  # sekisho.toml:2',
        "lock_after = 10  # default",
        'listen = ["0.0.0.0:1812", "[::]:1812"]  # default',
        'secret = "********"  # sekisho.toml:9',
        'prompt = "echo"  # sekisho.toml:5',
        'Class = [1, "b"]  # sekisho.toml:10',
        'reject = "いいえ"  # sekisho.toml:11',
        'level = "debug"  # environment SEKISHO_LOG__LEVEL',
    ):
        assert line in shown.splitlines()
    assert shown.count('prompt = "echo"  # sekisho.toml:5') == 2
    values = tomllib.loads(shown)
    assert values["radius"]["clients"][0]["prompt"] == "echo"
    assert values["radius"]["clients"][0]["reply_attributes"] == {"Class": [1, "b"], "Acme.Level": "\x7f"}
    assert "#" not in show(loaded.settings)


def test_show_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    private(tmp_path / "vpn")
    text = STORE + CLIENT.replace(f'secret = "{SECRET}"', 'secret_file = "vpn"\nlost = "reject"')
    settings = good(tmp_path, text).settings
    assert good(tmp_path, show(settings)).settings == settings


def test_every_key_is_described_in_the_schema_and_in_the_table() -> None:
    schema = describe_schema(Settings)
    tables = [table["properties"] for table in schema["$defs"].values() if "properties" in table]
    assert all(key["description"] for table in tables for key in table.values())
    assert schema["$defs"]["ClientSettings"]["oneOf"] == [{"required": ["secret"]}, {"required": ["secret_file"]}]
    rows = markdown_table(Settings).splitlines()
    assert {row.replace(r"\|", "").count("|") for row in rows} == {5}
    keys = [row.split("`")[1] for row in rows[2:]]
    lists = {"upstreams", "first_factors", "verifiers", "webhooks"}
    assert {key for table in tables for key in table} - {"reply_messages", "oidc"} == {
        key.split(".")[-1] for key in keys if key not in lists
    }
    assert {"store.url", "radius.reply_messages.reject", "radius.clients[].reply_messages.reject"} <= set(keys)
    assert '| `radius.listen` | list | `["0.0.0.0:1812", "[::]:1812"]` | UDP' in markdown_table(Settings)


# The examples that are delivered.


def test_the_example_is_good_once_its_secret_is_replaced(tmp_path: Path) -> None:
    text = (CONFIG / "sekisho.toml").read_text()
    (line,) = report(tmp_path, text)
    assert re.fullmatch(r"sekisho.toml:\d+: radius.clients\[0\].secret: is a well-known secret; .*", line)
    assert good(tmp_path, text.replace("REPLACE-ME", SECRET)).warnings == ()


def test_the_example_shows_every_key_with_its_default(tmp_path: Path) -> None:
    text = (CONFIG / "sekisho.toml").read_text().replace("REPLACE-ME", SECRET)
    said = re.sub(r"^#(?=[a-z_]+ = |\[)", "", text, flags=re.MULTILINE)
    named = re.sub(r"^#(?=\[)", "", text, flags=re.MULTILINE)
    loaded, silent = good(tmp_path, said), good(tmp_path, named)
    assert loaded.settings == silent.settings
    given = tomllib.loads(said)
    for name, section in loaded.settings:
        if section is None:
            continue  # [notices], which has keys without a default: see the next test
        if isinstance(section, tuple):
            continue  # lists of tables that are empty by default: see below
        fields = type(section).model_fields
        optional = {key for key, field in fields.items() if field.default is None}
        left_out = set(fields) - set(given[name]) - {"reply_messages", "profiles", "realms"} - optional
        assert (name, left_out) == (name, set())
        assert all(f"{key} = " in text for key in optional)
    for key in (*ClientSettings.model_fields, *PamProfile.model_fields, *RealmSettings.model_fields):
        assert re.search(rf"^#?\s*(\[[a-z.]+\.)?{key}(_file)?( = |\.|\])", text, re.MULTILINE), key


def test_the_example_of_notices_is_good_and_whole(tmp_path: Path) -> None:
    example = (CONFIG / "sekisho.toml").read_text().partition("#     [notices]\n")[2].partition("\n\n")[0]
    text = re.sub(r"^#     ", "", example, flags=re.MULTILINE)
    for name in ("mail.password", "mail-ca.pem"):
        private(tmp_path / name, "")
    text = text.replace("/etc/sekisho/mail-ca.pem", "mail-ca.pem")
    notices = good(tmp_path, f"{STORE}[notices]\n{text}\n").settings.notices
    assert notices is not None
    assert set(tomllib.loads(text)) == set(NoticesSettings.model_fields)
    defaults = {
        name for name, field in NoticesSettings.model_fields.items() if not field.is_required() and field.default
    }
    silent = NoticesSettings(smtp=notices.smtp, sender=notices.sender, contact=notices.contact)
    assert all(getattr(notices, name) == getattr(silent, name) for name in defaults)


def test_the_example_of_single_sign_on_is_good_and_whole(tmp_path: Path) -> None:
    example = (CONFIG / "sekisho.toml").read_text().partition("#     [console.oidc]\n")[2].partition("\n\n")[0]
    text = re.sub(r"^#     ", "", example, flags=re.MULTILINE)
    private(tmp_path / "oidc.secret", "secret")
    Authority(tmp_path, "oidc-ca")
    text = text.replace("/etc/sekisho/oidc-ca.pem", "oidc-ca.pem")
    loaded = good(tmp_path, f"{STORE}[console]\n[console.oidc]\n{text}\n")
    assert loaded.warnings == () and loaded.settings.console is not None and loaded.settings.console.oidc is not None
    assert set(tomllib.loads(text)) == set(OidcSettings.model_fields)
    assert (loaded.settings.console.oidc.timeout, loaded.settings.console.oidc.acr_values) == (5.0, ())


def test_the_example_of_first_factors_is_whole_and_good_where_their_types_are_made(tmp_path: Path) -> None:
    example = (CONFIG / "sekisho.toml").read_text().partition("#     [[upstreams]]")[2].partition("\n\n")[0]
    text = re.sub(r"^#     ?|^#$", "", f"#     [[upstreams]]{example}", flags=re.MULTILINE)
    values = tomllib.loads(text)
    (upstream,), (by_radius, by_ldap, by_name, by_pam) = values["upstreams"], values["first_factors"]
    assert set(upstream) | {"secret"} == set(UpstreamSettings.model_fields)
    assert set(by_radius) | set(by_ldap) | set(by_name) | set(by_pam) == set(FirstFactorSettings.model_fields)
    private(tmp_path / "core.secret")
    private(tmp_path / "bind.password")
    Authority(tmp_path, "ad-ca")
    wanted = [one["name"] for one in (by_radius, by_ldap, by_name, by_pam) if one["type"] in MADE]
    clients = "".join(
        f'[[radius.clients]]\nname = "{name}"\nnetwork = "10.{number}.0.0/16"\nsecret = "{SECRET}"\n'
        f'first_factor = "{name}"\n'
        for number, name in enumerate(wanted)
    )
    if len(wanted) == 4:
        elsewhere, missing = good(tmp_path, f"{STORE}{text}\n{clients}").warnings
        assert f"{upstream['source']} is no address of this machine" in str(elsewhere)
        assert "there is no /etc/pam.d/sekisho-passwords" in str(missing)
    else:
        assert any("comes later" in line for line in report(tmp_path, f"{STORE}{text}\n{clients}"))


def test_the_example_of_verifiers_is_whole_and_good(tmp_path: Path) -> None:
    example = (CONFIG / "sekisho.toml").read_text().partition("#     [[verifiers]]")[2].partition("\n\n")[0]
    text = re.sub(r"^#     ?|^#$", "", f"#     [[verifiers]]{example}", flags=re.MULTILINE)
    vip, by_radius = tomllib.loads(text)["verifiers"]
    assert set(vip) | set(by_radius) == set(VerifierSettings.model_fields)
    authority = Authority(tmp_path, "vip-ca")
    _, key = authority.issue("vip", "bank.example")
    key.chmod(0o600)
    core = f'[[upstreams]]\nname = "core"\nservers = ["192.0.2.10:1812"]\nsecret = "{SECRET}"\nchallenges = "refuse"\n'
    loaded = good(tmp_path, f"{STORE}{core}{text}\n")
    assert loaded.warnings == ()
    silent = VerifierSettings(name="x", type="vip", url=vip["url"], certificate=key, key=key)
    assert {name: getattr(silent, name) for name in ("timeout", "connections", "max_waiting")} == {
        name: vip[name] for name in ("timeout", "connections", "max_waiting")
    }
    assert silent.versions == tuple(vip["versions"])


def test_the_example_of_a_profile_is_good(tmp_path: Path) -> None:
    example = (CONFIG / "sekisho.toml").read_text().partition("#[pam]")[2].partition("\n[log]")[0]
    text = re.sub(r"^#     (?=\[\[pam|[a-z_]+ = )", "", example, flags=re.MULTILINE)
    pam = good(tmp_path, f"{STORE}[pam]{text}").settings.pam
    assert pam is not None
    (profile,) = pam.profiles
    assert (profile.name, str(profile.enrol_until)) == ("ssh", "2027-03-31")


def test_the_unit_hands_over_the_key_that_the_example_names() -> None:
    unit = (CONFIG / "systemd" / "sekisho.service").read_text()
    key_file = tomllib.loads((CONFIG / "sekisho.toml").read_text())["store"]["master_key_file"]
    assert f"LoadCredential={key_file}:" in unit
    agent = (CONFIG / "systemd" / "sekisho-pam-agent.service").read_text()
    for text in (unit, agent):
        assert "Type=notify\n" in text and "WatchdogSec=" in text and "RestartPreventExitStatus=2 3\n" in text
        assert "\nStartLimitIntervalSec=0\n" in text.partition("[Service]")[0], (
            "a database that comes up later is waited for"
        )
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in unit
