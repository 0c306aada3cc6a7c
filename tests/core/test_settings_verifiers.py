"""``[[verifiers]]``: what is wrong with them is said before the server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.verifier_checks import overlap
from sekisho.verifiers import MAKERS, Patterns
from tests.core.settings_files import CLIENT, SECRET, STORE, good, private, report, warnings
from tests.ldap.certificates import Authority

UPSTREAM = f'[[upstreams]]\nname = "gateway"\nservers = ["192.0.2.10:1812"]\nsecret = "{SECRET}"\ntimeout = 1.5\n'
EG = '[[verifiers]]\nname = "eg"\ntype = "radius"\nupstream = "gateway"\n'
VIP = """[[verifiers]]
name = "vip"
type = "vip"
url = "https://userservices-auth.vip.symantec.com/vipuserservices"
certificate = "bank.pem"
key = "bank.key"
ca_file = "ca.pem"
patterns = ["VSMT*", "SYMC*"]
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A folder with the files that VIP names."""
    _, key = Authority(tmp_path).issue("bank", "bank.example")
    key.chmod(0o600)
    return tmp_path


def test_settings_that_are_right(bank: Path) -> None:
    loaded = good(bank, STORE + UPSTREAM.replace("timeout", 'challenges = "refuse"\ntimeout') + EG + VIP)
    assert [one.name for one in loaded.settings.verifiers] == ["eg", "vip"]
    assert warnings(loaded, bank) == []
    assert {one.type for one in loaded.settings.verifiers} == set(MAKERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (VIP + VIP, "verifiers[1].name: vip is given twice"),
        (VIP.replace("https:", "http:"), "verifiers[0].url: http://userservices-auth"),
        (VIP.replace("https://", "https://taro@"), "is no address of VIP"),
        (VIP.replace("https://", "https://a..b."), "is no address of VIP"),
        (VIP.replace("vipuserservices", "vipuserservices?x=1"), "is no address of VIP"),
        (VIP.replace("bank.pem", "nowhere.pem"), "nowhere.pem is not a file"),
        (VIP.replace("bank.pem", "bank.key"), "bank.key holds no certificate in PEM"),
        (VIP.replace("bank.key", "ca.pem"), "verifiers[0].key: ca.pem can be read by everybody"),
        (VIP.replace("bank.key", "other.key"), "other.key does not belong to bank.pem"),
        (VIP.replace("bank.key", "text"), "text holds no private key in PEM"),
        (VIP.replace("ca.pem", "text"), "verifiers[0].ca_file: text holds no CA certificate"),
        (VIP.replace('"VSMT*"', '"*"'), "verifiers[0].patterns: '*' is no pattern of token IDs"),
        (VIP.replace('"VSMT*"', '"VS[MT]"'), "is no pattern of token IDs"),
        (VIP.replace('"VSMT*"', '"SYMC*"'), "names a pattern twice"),
        (VIP + 'versions = ["latest"]\n', "'latest' is no version of the API"),
        (VIP + 'upstream = "gateway"\n', "upstream means nothing for type vip"),
        (VIP.replace('key = "bank.key"\n', ""), "type vip needs key"),
        (VIP.replace('name = "vip"', 'name = "local"'), "the name local belongs to the seeds"),
        (VIP + "timeout = 0\n", "verifiers[0].timeout: "),
        (EG, "verifiers[0].upstream: no [[upstreams]] has the name 'gateway'; there are none"),
        (UPSTREAM + EG + 'url = "https://x"\n', "url means nothing for type radius"),
        (UPSTREAM + EG + 'patterns = ["VSM*"]\n' + VIP, "verifiers[1].patterns: VSMT* fits token IDs that eg has too"),
        ('[[verifiers]]\nname = "a"\ntype = "saml"\n', "verifiers[0].type: "),
    ],
)  # fmt: skip
def test_what_is_wrong(bank: Path, text: str, said: str) -> None:
    authority = Authority(bank, "another-ca")
    authority.issue("other", "bank.example")
    (bank / "other.key").chmod(0o600)
    private(bank / "text", "some text")
    lines = report(bank, STORE + "\n" + text)
    assert any(said in line for line in lines), lines
    assert SECRET not in "".join(lines)


def test_an_expired_certificate_is_said_and_stops_nobody_elses_logins(bank: Path) -> None:
    _, key = Authority(bank, "old-ca").issue("old", "bank.example", days=-1)
    key.chmod(0o600)
    text = VIP.replace("bank.pem", "old.pem").replace("bank.key", "old.key")
    (line,) = warnings(good(bank, STORE + text), bank)
    assert "old.pem has expired on" in line and "NO CODE OF VIP IS ACCEPTED" in line


def test_what_works_but_not_for_long(bank: Path) -> None:
    _, key = Authority(bank, "short-ca").issue("short", "bank.example", days=9.5)
    key.chmod(0o600)
    text = VIP.replace("bank.pem", "short.pem").replace("bank.key", "short.key") + "timeout = 5\n"
    gateway = UPSTREAM.replace("timeout = 1.5", "timeout = 6")
    lines = warnings(good(bank, STORE + gateway + EG + text + CLIENT), bank)
    assert any("short.pem ends in 9 days" in line for line in lines), lines
    assert any("VIP has 5 s for a code, and radius.request_seconds gives up after 5" in line for line in lines)
    assert any("gateway has 6 s for a code, and radius.request_seconds gives up after 5" in line for line in lines)


def test_a_gateway_whose_questions_are_relayed_is_as_it_should_be(bank: Path) -> None:
    assert warnings(good(bank, STORE + UPSTREAM + EG + CLIENT), bank) == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("VSMT*", "VSMT*", True),
        ("VS*", "VSMT*", True),
        ("VSMT*", "VSMT12345678", True),
        ("VSMT*", "SYMC*", False),
        ("VSMT1", "VSMT1", True),
        ("VSMT1", "VSMT", False),
    ],
)
def test_two_patterns_overlap_where_a_token_fits_both(one: str, other: str, both: bool) -> None:
    assert overlap(one, other) is both is overlap(other, one)


def test_a_token_outside_of_the_inventory_has_the_verifier_of_its_pattern(bank: Path) -> None:
    of = Patterns(good(bank, STORE + VIP + 'versions = ["1_10"]\n').settings.verifiers)
    assert (of("VSMT12345678"), of("SYMC1"), of("VSST12345678"), of("")) == ("vip", "vip", None, None)
