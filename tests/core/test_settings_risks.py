"""What is allowed but risky is a warning at its place, and no more than a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.settings import load
from tests.core.settings_files import BY_FILE, CLIENT, STORE, good, private, report, warnings, written


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
