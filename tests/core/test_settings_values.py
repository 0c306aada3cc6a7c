"""A wrong value is told with its line, its key and the right form."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.store.postgresql.address import parameters, parse, with_files
from tests.core.settings_files import CLIENT, STORE, good, report


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("workers = true", "workers: needs a whole number, without quotes"),
        ('workers = "1"', "workers: needs a whole number, without quotes"),
        ("workers = 257", "workers: is too large: 256 is the most"),
        ("reject_delay = nan", "reject_delay: needs a finite number"),
        ('reject_delay = "1"', "reject_delay: needs a number, without quotes"),
        ('prompt = "loud"', "prompt: is not known; write 'no-echo', 'echo' or 'none'"),
        ("lock_after = 1", "lock_after: unknown key here; it belongs in [login]"),
        ('dictionary = ["none"]', "dictionary[0]: none is not a file"),
        (f'dictionary = ["{"x" * 300}"]', f"dictionary[0]: {'x' * 300} is not a file"),
        ("dictionary = [5]", "dictionary[0]: needs the name of a file, in quotes"),
        ("clients = [5]", "clients[0]: needs a table"),
        ("clients = 5", 'clients: needs a list: ["…", "…"]'),
        ("reply_messages = 5", "reply_messages: needs a table"),
        ('reply_messages.reject = ""', "reply_messages.reject: is too short: 1 is the least"),
        (f'reply_messages.reject = "{"x" * 1001}"', "reply_messages.reject: is too long: 1000 characters are the most"),
        ("reply_messages.reject = 5", "reply_messages.reject: needs text in quotes"),
        ("reply_messages.zzz = 5", "reply_messages.zzz: unknown key; radius.reply_messages has challenge, "
         "challenge_again, reject, accept, change_token"),
        ("listen = [1812]", 'listen[0]: needs text in quotes: "0.0.0.0:1812"'),
        ('listen = ["1812"]', 'listen[0]: 1812 is not an IP address and port: write "0.0.0.0:1812" or "[::]:1812"'),
        ('listen = ["localhost:1812"]', 'listen[0]: localhost:1812 is not an IP address and port: write '
         '"0.0.0.0:1812" or "[::]:1812"'),
        ('listen = ["[10.0.0.1]:1812"]', 'listen[0]: [10.0.0.1]:1812 is not an IP address and port: write '
         '"0.0.0.0:1812" or "[::]:1812"'),
        ('listen = ["0.0.0.0:65536"]', "listen[0]: 0.0.0.0:65536: a port is 1 to 65535 (0: any free one)"),
        ('listen = ["::1"]', 'listen[0]: ::1 needs brackets around the IPv6 address, and a port: '
         '"[2001:db8::1]:1812"'),
        ('listen = ["0.0.0.0:1812", "[::]:0", "[::]:0", "0.0.0.0:01812"]', "listen[3]: 0.0.0.0:1812 is given twice; "
         "the first is at sekisho.toml:5"),
    ],
)  # fmt: skip
def test_a_wrong_value_gets_the_right_form(tmp_path: Path, line: str, expected: str) -> None:
    assert report(tmp_path, f"{STORE}[radius]\n{line}") == [f"sekisho.toml:5: radius.{expected}"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("memory_kib = 1048577", "1,048,577 KiB of memory: more than 1,048,576 would"),
        ("memory_kib = 1048576\ntime_cost = 5", "5,242,880 KiB times passes: more than 4,194,304 would"),
    ],
)
def test_costs_that_cannot_be_hashed_are_a_problem(tmp_path: Path, lines: str, expected: str) -> None:
    (problem,) = report(tmp_path, f"{STORE}[password]\n{lines}")
    assert problem.startswith(f"sekisho.toml:4: password: {expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("name = 5", "name: needs text in quotes"),
        ('name = " vpn"', "name: needs 1 to 64 printable characters, with no space at either end"),
        ('name = "a\\nb"', "name: needs 1 to 64 printable characters, with no space at either end"),
        ("network = 10", 'network: needs text in quotes: "10.1.0.0/16"'),
        ('network = "vpn.example"', 'network: vpn.example is not a network: write "10.1.0.0/16", "2001:db8::/32" '
         'or one address, "10.1.2.3"'),
        ('network = "2001:db8::1/32"', "network: 2001:db8::1/32 has host bits set; write 2001:db8::/32 "
         "or 2001:db8::1/128"),
        ('secret = "testing123"', "secret: is a well-known secret; make one with: openssl rand -base64 24"),
        ('secret = "too short"', "secret: is too short: 9 octets, at least 16 are needed; make one with: "
         "openssl rand -base64 24"),
        (f'secret = "{"a" * 40}"', "secret: is the same piece again and again; make one with: openssl rand -base64 24"),
        ('secret = "testing123testing123"', "secret: is the same piece again and again; make one with: "
         "openssl rand -base64 24"),
        ('charset = "utf8"', "charset: is not known; write 'utf-8', 'latin-1', 'cp1252', 'cp932' or 'euc-jp'"),
        ('mode = "both"', "mode: is not known; write 'challenge', 'append', 'auto', 'code' or 'password'"),
        ('lost = "accept"', "lost: is not known; write 'password' or 'reject'"),
        ("limit_proxy_state = 0", "limit_proxy_state: needs true or false, without quotes"),
        ('reply_attributes = "Class"', "reply_attributes: needs a table"),
        ("reply_attributes.Class = true", "reply_attributes.Class: needs text, a whole number, or a list of those"),
        ("reply_attributes.Class = []", "reply_attributes.Class: needs text, a whole number, or a list of those"),
        ("reply_attributes.Class = [1.5]", "reply_attributes.Class: needs text, a whole number, or a list of those"),
        ('reply_attributes.State = "x"', "reply_attributes.State: is written by the server itself, and cannot be set "
         "here"),
        (
            'reply_attributes."Tunnel-Type:32" = "VLAN"',
            "reply_attributes.Tunnel-Type:32: is not an attribute's name: write it as the dictionary does, "
            '"Filter-Id", with a tag of 1 to 31 where it has one, "Tunnel-Type:1"',
        ),
        ('reply_attributes."A B" = "x"', "reply_attributes.A B: is not an attribute's name: write it as the dictionary "
         'does, "Filter-Id"'),
        ("secret_file = 5", "secret_file: needs the name of a file, in quotes"),
    ],
)  # fmt: skip
def test_a_wrong_client_gets_the_right_form(tmp_path: Path, line: str, expected: str) -> None:
    key = line.partition(" ")[0]
    kept = [given for given in CLIENT.splitlines() if given.partition(" ")[0] != key]
    text = STORE + "\n".join([*kept, line])
    assert report(tmp_path, text) == [f"sekisho.toml:{3 + len(kept) + 1}: radius.clients[0].{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[web]\npublic_origin = "https://otp.example/login"', "5: web.public_origin: https://otp.example/login is not "
         "an origin: write https://HOST or https://HOST:PORT, with nothing after it"),
        ('[web]\npublic_origin = "http://otp.example"', "5: web.public_origin: http://otp.example is open to "
         "eavesdroppers: write https (http is for localhost only)"),
        ("[throttle]\nfirst_delay = 5\nmax_delay = 4", "6: throttle.max_delay: is less than first_delay, 5.0; "
         "write at least that"),
        ("[throttle]\npassword_first_delay = -1\n", "5: throttle.password_first_delay: is too small: 0.0 is the least"),
        ("radius = 5", "4: store.radius: unknown key; store has url, password_file, ca_file, "
         "master_key_file, state_dir"),
    ],
)  # fmt: skip
def test_a_wrong_value_elsewhere_gets_the_right_form(tmp_path: Path, text: str, expected: str) -> None:
    assert report(tmp_path, STORE + text) == [f"sekisho.toml:{expected}"]


_SQLITE = "write sqlite:////ABSOLUTE/FILE, or sqlite:///FILE relative to the working folder, or "


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://sekisho:hunter2@db/sekisho", _SQLITE + "postgresql://sekisho@db1:5432,db2:5432/sekisho"),
        ("sqlite://", _SQLITE + "postgresql://sekisho@db1:5432,db2:5432/sekisho"),
        ("sqlite:///:memory:", "names no file, and a store in memory forgets which codes were used: write "
         "sqlite:///FILE"),
        ("postgresql://sekisho:hunter2@db/sekisho", "holds a password: write it into a file of its own, and name that "
         "in store.password_file"),
        ("postgresql://sekisho@db/sekisho?password=hunter2", "holds a password: write it into a file of its own, and "
         "name that in store.password_file"),
        ("postgresql://sekisho@db", "names no database: write postgresql://sekisho@db1:5432,db2:5432/sekisho"),
        ("postgresql://sekisho@db:54o2/sekisho", "has a port '54o2', which is no number from 1 to 65535"),
        ("postgresql://sekisho@db1,:5432/sekisho", "names a host without a name: write "
         "postgresql://sekisho@db1:5432,db2:5432/sekisho"),
        ("postgresql://sekisho@[2001:db8::5/sekisho", "has an IPv6 address without its ]: write [2001:db8::5]:5432"),
        ("postgresql://sekisho@db/sekisho?host=/run/postgresql", "names hosts twice: before the database and as host="),
        ("postgresql://sekisho@/sekisho?host=a,b,c&port=1,2", "names more ports than hosts, or fewer: one for each, or "
         "one for all"),
        ("postgresql://sekisho@db/sekisho?sslmode=verify", "sslmode is one of disable, allow, prefer, require, "
         "verify-ca, verify-full"),
        ("postgresql://sekisho@db/sekisho?connect_timeout=9", "has a keyword 'connect_timeout', which is not one of: "
         "channel_binding, gssencmode, host, krbsrvname, port, require_auth, sslcert, sslcrl, sslkey, sslmode, "
         "sslrootcert"),
    ],
)  # fmt: skip
def test_a_store_is_a_file_or_a_postgresql(tmp_path: Path, url: str, expected: str) -> None:
    text = f'[store]\nurl = "{url}"\nmaster_key_file = "k"'
    assert report(tmp_path, text) == [f"sekisho.toml:2: store.url: {expected}"]


def test_a_database_over_the_network_is_known_by_its_certificate(tmp_path: Path) -> None:
    text = '[store]\nurl = "postgresql://sekisho@db/sekisho"\nmaster_key_file = "k"'
    (missing,) = report(tmp_path, text)
    assert "ca_file is missing" in missing and missing.startswith("sekisho.toml:1: store")
    (tmp_path / "ca.pem").write_text("(certificates)")
    found = parse(good(tmp_path, f'{text}\nca_file = "ca.pem"').settings.store.address)
    assert (found.ssl_mode, found.options["sslrootcert"]) == ("verify-full", str(tmp_path / "ca.pem"))


def test_a_weaker_sslmode_is_obeyed_and_said(tmp_path: Path) -> None:
    text = '[store]\nurl = "postgresql://sekisho@db/sekisho?sslmode=require"\nmaster_key_file = "k"'
    loaded = good(tmp_path, text)
    assert parse(loaded.settings.store.address).ssl_mode == "require"
    assert any("sslmode=require does not make sure that it is your database" in str(one) for one in loaded.warnings)


def test_what_belongs_to_postgresql_is_no_part_of_a_file(tmp_path: Path) -> None:
    (problem,) = report(tmp_path, f'{STORE.rstrip()}\npassword_file = "db.password"\n')
    assert problem.endswith("password_file belongs to a PostgreSQL store, and url names a file: remove one of them")


def test_a_password_is_read_from_its_file_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "db pass+word"
    address = parse(with_files("postgresql://sekisho@/sekisho?host=/run/a,/run/b&port=5433", file, None))
    assert address.hosts == (("/run/a", "5433"), ("/run/b", "5433")) and address.is_local
    for password in ("hunter 2", "another%20one"):
        file.write_text(f"{password}\n")
        found = parameters(address)
        assert (found["password"], found["host"], found["port"]) == (password, "/run/a,/run/b", "5433,5433")
        assert (found["target_session_attrs"], found.get("sslmode")) == ("read-write", None)
    for wrong in ("", "two\nlines\n"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="the password alone, in one line"):
            parameters(address)
