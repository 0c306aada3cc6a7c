"""What is allowed but risky is a warning at its place, and no more than a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.settings import load
from tests.core.settings_files import BY_FILE, CLIENT, SECRET, STORE, good, private, report, warnings, written


def test_risks_are_warnings_with_their_places(tmp_path: Path) -> None:
    text = STORE + (
        "[radius]\nworkers = 2\n[password]\ntime_cost = 1\n"
        + CLIENT.replace("10.1.0.0/16", "10.0.0.0/8")
        + "require_message_authenticator = false\nlimit_proxy_state = false\nrepeated_login_seconds = 5\n"
    )
    assert warnings(good(tmp_path, text), tmp_path) == [
        "sekisho.toml:6: password: is weaker than OWASP's minimum for argon2id: memory_kib = 19456, time_cost = 2",
        "sekisho.toml:12: radius.clients[0].require_message_authenticator: vpn is at risk: replies to it can be forged "
        "(CVE-2024-3596); turn Message-Authenticator on there and write true",
        "sekisho.toml:13: radius.clients[0].limit_proxy_state: vpn is at risk: Proxy-State without "
        "Message-Authenticator is how replies are forged (CVE-2024-3596); write true",
        "sekisho.toml:14: radius.clients[0].repeated_login_seconds: a code can be used more than once through vpn for "
        "5 s; write 0 unless that gateway sends one login twice",
        "sekisho.toml:10: radius.clients[0].network: 10.0.0.0/8 is very wide: every address in it may guess at the "
        "secret of vpn",
    ]


@pytest.mark.parametrize(
    ("name", "held", "other"),
    [
        ("seal_key_file", "master.key", "store.master_key_file"),
        ("seal_copy", "master.key", "store.master_key_file"),
        ("seal_copy", "s.db", "store.url"),
        ("seal_copy", "folder/../audit.key", "audit.seal_key_file"),
    ],
)
def test_what_is_written_for_one_purpose_is_not_kept_for_another(
    tmp_path: Path, name: str, held: str, other: str
) -> None:
    keys = {"seal_key_file": "audit.key", "seal_copy": "seals", name: held}
    lines = "".join(f'{key} = "{tmp_path}/{value}"\n' for key, value in keys.items())
    store = f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\nmaster_key_file = "{tmp_path}/master.key"\n'
    assert f"audit.{name}: is the file of {other} too" in "".join(report(tmp_path, f"{store}[audit]\n{lines}"))


def test_memory_for_fewer_passes_is_no_risk(tmp_path: Path) -> None:
    assert good(tmp_path, STORE + "[password]\nmemory_kib = 47104\ntime_cost = 1").warnings == ()


def test_a_file_that_shows_its_secrets_is_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path, STORE + CLIENT, 0o644)
    assert warnings(load(path, environment={}), tmp_path) == [
        "sekisho.toml: holds secrets, and everybody can read it: chmod o-rwx sekisho.toml, or use secret_file"
    ]
    private(tmp_path / "vpn")
    path = written(tmp_path, STORE + BY_FILE, 0o644)
    assert load(path, environment={}).warnings == ()


def test_a_soft_token_behind_a_proxy_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    text = STORE + '[soft_token]\npublic_origin = "https://token.example"\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "soft_token.trusted_proxies: names nobody" in said
    assert good(tmp_path, text + 'trusted_proxies = ["10.0.0.1"]\n').warnings == ()
    assert good(tmp_path, STORE + "[soft_token]\n").warnings == ()


def test_a_portal_behind_a_proxy_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    text = STORE + '[web]\npublic_origin = "https://otp.example"\nissuer = "Example Bank"\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "web.trusted_proxies: names nobody" in said
    assert good(tmp_path, text + 'trusted_proxies = ["127.0.0.1"]\n').warnings == ()
    assert good(tmp_path, STORE + "[web]\n").warnings == ()


def test_a_portal_that_does_not_name_the_bank_to_apps_is_a_warning(tmp_path: Path) -> None:
    text = STORE + '[web]\npublic_origin = "https://otp.example"\ntrusted_proxies = ["127.0.0.1"]\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "web.issuer: is Sekisho, and that is what customers' authenticator apps call the bank" in said
    assert good(tmp_path, text + 'issuer = "Example Bank"\n').warnings == ()
    assert good(tmp_path, STORE + "[web]\n").warnings == (), "a trial on this machine"


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"\xef\xbb\xbf" + SECRET.encode(), "begins with a byte order mark"),
        (SECRET.encode("utf-16"), "begins with a byte order mark"),
        (SECRET.encode() + b"\nanother line\n", "holds a line end or a NUL"),
        (SECRET.encode("utf-16-le"), "or a NUL"),
        (SECRET.encode() + b" \n", "begins or ends in a blank"),
        (SECRET.encode() + b"\n\n", "begins or ends in a blank or a line end"),
    ],
)
def test_what_an_editor_put_into_a_secret_is_a_warning_and_not_told(tmp_path: Path, octets: bytes, said: str) -> None:
    """Otherwise nobody finds out why the gateway's requests are dropped."""
    private(tmp_path / "vpn", octets)
    for key in ("secret_file", "next_secret_file"):
        client = BY_FILE if key == "secret_file" else CLIENT.replace(SECRET, "another-Secret-9x") + f'{key} = "vpn"\n'
        (warning,) = warnings(good(tmp_path, STORE + client), tmp_path)
        assert said in warning and SECRET not in warning and "radius.clients[0]." in warning
    upstream = f'[[upstreams]]\nname = "old"\nservers = ["192.0.2.1:1812"]\nsecret_file = "{tmp_path}/vpn"\n'
    assert any(said in one for one in warnings(good(tmp_path, STORE + upstream), tmp_path))


@pytest.mark.parametrize(
    "octets", [SECRET.encode() + b"\r\n", SECRET.encode(), b"\x01\x02\x1b" + b"\xe9" * 2 + SECRET.encode()]
)
def test_a_secret_of_any_other_octets_is_none(tmp_path: Path, octets: bytes) -> None:
    private(tmp_path / "vpn", octets)
    assert good(tmp_path, STORE + BY_FILE).warnings == ()


@pytest.mark.parametrize("section", ["web", "soft_token", "console", "api"])
@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "128.0.0.0/1"])
def test_proxies_that_are_everybody_are_a_warning(tmp_path: Path, section: str, network: str) -> None:
    text = STORE + f'[{section}]\ntrusted_proxies = ["10.0.0.0/8", "fc00::/7", "{network}"]\n'
    said = [one for one in warnings(good(tmp_path, text), tmp_path) if "trusted_proxies" in one]
    assert len(said) == 1 and f"{section}.trusted_proxies[2]: {network} is very wide" in said[0]
