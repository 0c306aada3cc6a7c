"""The settings of the console: what is refused, what is a warning, and what shares a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.doors import NAMES, processes
from tests.core.settings_files import CLIENT, STORE, good, private, report, warnings

CONSOLE = f"{STORE}[console]\n"


def test_the_contract_of_its_settings(tmp_path: Path) -> None:
    console = good(tmp_path, CONSOLE).settings.console
    assert console is not None
    assert (str(console.listen), console.public_origin) == ("127.0.0.1:8380", "http://localhost:8380")
    assert (console.idle_seconds, console.session_seconds) == (900, 28_800)
    assert console.approvals == ("permit-reissue", "import", "bulk", "staff", "api-key")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8380", "https://10.1.2.3", "https://[2001:db8::1]:8380"])
def test_an_ip_address_as_origin_is_refused_with_what_to_do(tmp_path: Path, origin: str) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}public_origin = "{origin}"\n')
    assert said.startswith("sekisho.toml:5: console.public_origin:")
    assert "is an IP address, and passkeys need a name: write https://HOST" in said


def test_an_act_that_is_unknown_is_refused(tmp_path: Path) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}approvals = ["permit-reisue"]\n')
    assert "console.approvals" in said and "permit-reissue" in said


def test_a_one_person_shop_is_told_what_that_means(tmp_path: Path) -> None:
    (said,) = warnings(good(tmp_path, f"{CONSOLE}approvals = []\n"), tmp_path)
    assert "console.approvals: is empty: one person alone" in said
    assert good(tmp_path, CONSOLE).warnings == ()


def test_a_console_behind_a_proxy_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    text = f'{CONSOLE}public_origin = "https://console.example"\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "console.trusted_proxies: names nobody" in said
    assert good(tmp_path, f'{text}trusted_proxies = ["10.0.0.1"]\n').warnings == ()


@pytest.mark.parametrize("other", ["web", "soft_token"])
def test_it_has_an_origin_and_an_address_of_its_own(tmp_path: Path, other: str) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}[{other}]\npublic_origin = "http://localhost:8380"\n')
    assert f"console.public_origin: is [{other}]'s too" in said
    (said,) = report(tmp_path, f'{CONSOLE}[{other}]\nlisten = "127.0.0.1:8380"\n')
    assert f"console.listen: 127.0.0.1:8380 and {other}.listen, 127.0.0.1:8380, overlap" in said


def test_it_shares_the_process_of_the_web_doors_and_can_be_asked_for_alone(tmp_path: Path) -> None:
    settings = good(tmp_path, f"{CONSOLE}[web]\n{CLIENT}").settings
    assert "console" in NAMES
    assert processes(settings)[-1].doors == ("web", "console")
    (alone,) = processes(settings, ("console",))
    assert (alone.name, alone.doors, alone.essential) == ("web", ("console",), True)
    assert processes(settings, ("web",))[-1].doors == ("web",)


# Single sign-on

OIDC = (
    f'{CONSOLE}[console.oidc]\nissuer = "https://id.example"\nclient_id = "sekisho"\n'
    'client_secret_file = "oidc.secret"\n'
)
ROLES = 'roles_claim = "groups"\nroles = { counter = "operator" }\n'


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example",
        "id.example",
        "https://",
        "https://u:p@id.example",
        "https://id.example/?a=b",
        "ftp://localhost",
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused_with_the_right_form(tmp_path: Path, issuer: str) -> None:
    private(tmp_path / "oidc.secret", "secret")
    (said,) = report(tmp_path, OIDC.replace("https://id.example", issuer))
    assert said.startswith("sekisho.toml:6: console.oidc.issuer: is no issuer that can be trusted: write the https://")


def test_single_sign_on_needs_its_files_its_scope_and_roles_with_their_claim(tmp_path: Path) -> None:
    (said,) = report(tmp_path, OIDC)
    assert "console.oidc.client_secret_file" in said and "is not a file" in said
    secret = tmp_path / "oidc.secret"
    private(secret, "\n")
    (said,) = report(tmp_path, OIDC)
    assert "oidc.secret is empty: write the client's secret into it" in said
    private(secret, "secret")
    secret.chmod(0o644)
    (said,) = report(tmp_path, OIDC)
    assert "can be read by everybody" in said and "chmod" in said
    secret.chmod(0o600)
    (tmp_path / "ca.pem").write_text("none")
    for more, cause in (
        ('scopes = ["profile"]', 'scopes needs "openid"'),
        ('scopes = ["openid", "a b"]', "scopes"),
        ('roles_claim = "groups"', "roles_claim and roles go together"),
        ('roles = { counter = "operator" }', "roles_claim and roles go together"),
        (ROLES.replace("operator", "root"), "console.oidc.roles"),
        ('ca_file = "ca.pem"', "holds no certificates in PEM form"),
        ("timeout = 60", "console.oidc.timeout"),
    ):
        (said,) = report(tmp_path, f"{OIDC}{more}\n")
        assert cause in said, said


def test_single_sign_on_that_takes_no_role_away_or_has_no_tls_is_a_warning(tmp_path: Path) -> None:
    private(tmp_path / "oidc.secret", "secret")
    assert good(tmp_path, f"{OIDC}{ROLES}").warnings == ()
    (said,) = warnings(good(tmp_path, OIDC), tmp_path)
    assert "console.oidc.roles_claim: is left out: the role kept here counts alone" in said
    plain = OIDC.replace("https://id.example", "http://localhost:9000")
    (said,) = warnings(good(tmp_path, f"{plain}{ROLES}"), tmp_path)
    assert "console.oidc.issuer: is asked without TLS" in said
