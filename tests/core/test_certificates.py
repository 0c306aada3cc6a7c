"""Days that certificates are good: from the settings' files to what the doctor and the metrics say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otp_core.certificates import NamedCertificate, lifetime_of, next_to_end
from otp_core.checks import CheckState
from sekisho.cli.doctor_certificates import examine_certificates
from sekisho.metrics import families as f
from sekisho.metrics.certificate_look import OLD_SECONDS, CertificateLook
from tests.core.settings_files import STORE, good
from tests.ldap.certificates import Authority

NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def certificate(authority: Authority, name: str, days: float) -> Path:
    pem, key = authority.issue(name, "bank.example", days=days)
    key.chmod(0o600)
    return pem


def section(name: str, pem: Path) -> str:
    return f'\n[{name}]\ntls_certificate = "{pem}"\ntls_key = "{pem.with_suffix(".key")}"\n'


def test_of_a_chain_the_certificate_that_ends_first_counts(authority: Authority, tmp_path: Path) -> None:
    long, short = certificate(authority, "long", 80.5), certificate(authority, "short", 20.5)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(long.read_bytes() + short.read_bytes())
    assert lifetime_of(NamedCertificate("web.tls_certificate", chain)).days(NOW) == 20


@pytest.mark.parametrize(("content", "trouble"), [(b"text", "holds no certificate in PEM"), (None, "cannot be read")])
def test_a_file_that_is_none_comes_before_all(
    authority: Authority, tmp_path: Path, content: bytes | None, trouble: str
) -> None:
    good_one, wrong = certificate(authority, "good", 1), tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_bytes(content)
    found = next_to_end((NamedCertificate("a", good_one), NamedCertificate("b", wrong)))
    assert found and found.setting == "b" and found.days(NOW) is None
    assert found.trouble.startswith(trouble)


def test_without_certificates_none_ends() -> None:
    assert next_to_end(()) is None


@pytest.mark.parametrize(
    ("days", "state", "text"),
    [
        (90.5, CheckState.OK, "is good for 90 days more"),
        (9.5, CheckState.WARN, "ends in 9 days: renew it"),
        (-1, CheckState.FAIL, "browsers refuse it; renew it"),
    ],
)
def test_the_doctor_says_how_long_a_door_can_be_opened(
    authority: Authority, tmp_path: Path, days: float, state: CheckState, text: str
) -> None:
    settings = good(tmp_path, STORE + section("web", certificate(authority, "portal", days))).settings
    [found] = examine_certificates(settings)
    assert (found.state, found.check) == (state, "certificate web")
    assert text in found.text


def test_the_metrics_read_a_renewed_file_within_a_minute(authority: Authority) -> None:
    pem, now = certificate(authority, "portal", 10), [0.0]
    look = CertificateLook([NamedCertificate("web.tls_certificate", pem)], lambda: now[0])

    def left() -> float:
        return look.figures()[f.CERTIFICATE, "web.tls_certificate"] - timedelta(days=10).total_seconds()

    assert abs(left()) < 600
    pem.unlink()
    assert left() > -600, "it was read a moment ago"
    now[0] += OLD_SECONDS
    assert left() == -math.inf
    certificate(authority, "portal", 10)
    now[0] += OLD_SECONDS
    assert abs(left()) < 600


def test_every_section_with_a_certificate_is_known(authority: Authority, tmp_path: Path) -> None:
    names = ("web", "soft_token", "console", "api")
    origins = {"console": 'public_origin = "https://bank.example:8380"\n'}
    text = "".join(section(name, certificate(authority, name, 9)) + origins.get(name, "") for name in names)
    found = good(tmp_path, STORE + text).settings.certificates
    assert [one.setting for one in found] == [f"{name}.tls_certificate" for name in names]
