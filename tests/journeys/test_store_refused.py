"""A store in PostgreSQL that cannot be had: what `config check`, `init`, `doctor` and `serve` say of it. One line each,
with what to do, the same at all four, and never the password."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.audit import Ids
from otp_core.store.store import initialise
from tests.journeys.command_line import run
from tests.ldap.certificates import Authority
from tests.postgresql import QUICK, USER, Server
from tests.sekisho import client_table, free_port

PASSWORD, WRONG = "the-one-of-the-role", "the-one-of-somebody-else"
WEAK = "sslmode=disable does not make sure that it is your database that answers: write verify-full, and ca_file"
COMMANDS = ("config check", "init", "doctor", "serve")


@dataclass
class Place:
    """A server that asks for passwords, with a store in the database ``whole``; and another one that is too old."""

    server: Server
    old: int
    key: Path

    def settings(self, folder: Path, url: str, *, password: str = PASSWORD, more: str = "") -> Path:
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o600)
        shutil.copy(self.key, folder / "master.key")
        file = folder / "sekisho.toml"
        file.write_text(
            f'[store]\nurl = "{url}"\nmaster_key_file = "{folder}/master.key"\npassword_file = "{folder}/password"\n'
            f'{more}\n[radius]\nlisten = ["127.0.0.1:0"]\n{client_table("gateway", "127.0.0.1", "code")}'
        )
        file.chmod(0o600)
        return file

    def url(self, database: str, user: str = "serving", options: str = "?sslmode=disable") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.server.port}/{database}{options}"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-"))
    server = Server(folder, *QUICK, "listen_addresses=127.0.0.1", port=free_port()).create()
    (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server.start()
    try:
        with server.connect("postgres") as connection:
            for role in ("serving", "reading"):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            for name in ("whole", "newer"):
                connection.execute(f"CREATE DATABASE {name} OWNER {USER}")
        for name in ("whole", "newer"):
            initialise(server.url(name), folder / "master.key", ids=Ids(), say=lambda _: None)
            with server.connect(name) as connection:
                connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO serving")
                connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reading")
        with server.connect("newer") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.execute("UPDATE alembic_reached SET version_num = '9999'")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=be_too_old, args=(listening,), daemon=True).start()
            yield Place(server, listening.getsockname()[1], folder / "master.key")
    finally:
        server.stop(3)
        shutil.rmtree(folder, ignore_errors=True)


def be_too_old(listening: socket.socket) -> None:
    """A server of PostgreSQL's protocol that lets anybody in, and says which version it is."""
    said = {"server_version": "14.9", "client_encoding": "UTF8", "in_hot_standby": "off"}
    said |= {"default_transaction_read_only": "off", "standard_conforming_strings": "on"}
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            (length,) = struct.unpack("!I", connection.recv(4))
            connection.recv(length - 4)
            answer = message(b"R", struct.pack("!I", 0))
            for name, value in said.items():
                answer += message(b"S", f"{name}\0{value}\0".encode())
            connection.sendall(answer + message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I"))
            connection.recv(100)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def told(file: Path, command: str) -> tuple[int, str]:
    """The exit code, and all that is said."""
    words = ["--config", str(file), *command.split()]
    if command == "serve":
        done = subprocess.run(
            [sys.executable, "-m", "sekisho", *words], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr
    said = run(words)
    return said.code, said.out + said.err


def check(file: Path, expected: str, *, code: int = 4, commands: tuple[str, ...] = COMMANDS) -> str:
    """Each of the commands says it in one line; what `serve` said."""
    for command in commands:
        found, text = told(file, command)
        lines = [line for line in text.splitlines() if expected in line]
        assert (found, len(lines)) == (1 if command == "doctor" else code, 1), f"{command}: {text}"
        assert "Traceback" not in text and PASSWORD not in text and WRONG not in text
    return text


def test_a_wrong_password(place: Place, tmp_path: Path) -> None:
    check(place.settings(tmp_path, place.url("whole"), password=WRONG), "check user, password_file")


def test_a_database_that_is_not_there(place: Place, tmp_path: Path) -> None:
    check(place.settings(tmp_path, place.url("fall")), "createdb --owner=USER DATABASE")


def test_a_role_that_may_only_read(place: Place, tmp_path: Path) -> None:
    """`config check` writes nothing, and asks for the rights; the statement that it and `doctor` print helps."""
    file = place.settings(tmp_path, place.url("whole", "reading"))
    check(file, "this user lacks")
    grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reading"
    for command in ("config check", "doctor"):
        text = told(file, command)[1]
        assert "DELETE, INSERT, UPDATE on alembic_reached; " in text and f": {grant};" in text, text
    with place.server.connect("whole") as connection:
        connection.execute(grant)
    try:
        assert told(file, "config check")[0] == 0
    finally:
        with place.server.connect("whole") as connection:
            connection.execute("REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM reading")


def test_a_role_that_may_not_use_the_schema(place: Place, tmp_path: Path) -> None:
    """Not "there is no store": `sekisho init` could not make one either."""
    file = place.settings(tmp_path, place.url("whole", "reading"))
    with place.server.connect("whole") as connection:
        connection.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    try:
        check(file, "run as its owner: GRANT USAGE ON SCHEMA public TO reading")
    finally:
        with place.server.connect("whole") as connection:
            connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


def test_a_role_whose_sessions_only_read(place: Place, tmp_path: Path) -> None:
    file = place.settings(tmp_path, place.url("whole", "reading"))
    with place.server.connect("postgres") as connection:
        connection.execute("ALTER ROLE reading SET default_transaction_read_only = on")
    try:
        check(file, "or default_transaction_read_only is on for this user or database")
    finally:
        with place.server.connect("postgres") as connection:
            connection.execute("ALTER ROLE reading RESET ALL")


def test_a_role_without_any_schema_makes_no_store(place: Place, tmp_path: Path) -> None:
    file = place.settings(tmp_path, place.url("empty", "reading"))
    with place.server.connect("postgres") as connection:
        connection.execute(f"CREATE DATABASE empty OWNER {USER}")
    with place.server.connect("empty") as connection:
        connection.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    check(file, "there is no schema that this user may use", commands=("init",))


def test_a_store_of_a_newer_version(place: Place, tmp_path: Path) -> None:
    check(place.settings(tmp_path, place.url("newer")), "install the version that has upgraded the store")


def test_a_server_that_is_too_old_and_a_connection_without_tls(place: Place, tmp_path: Path) -> None:
    url = f"postgresql://serving@127.0.0.1:{place.old}/whole?sslmode=disable"
    text = check(place.settings(tmp_path, url), "is PostgreSQL 14.9: Sekisho needs 15 or newer")
    assert WEAK in text


def test_a_server_without_tls_where_it_was_asked_for(place: Place, tmp_path: Path) -> None:
    file = place.settings(tmp_path, place.url("whole", options=""), more=f'ca_file = "{Authority(tmp_path).file}"')
    check(file, "the server has no TLS: switch it on there")


def test_a_weak_sslmode_is_obeyed_and_told(place: Place, tmp_path: Path) -> None:
    file = place.settings(tmp_path, place.url("whole", USER))
    with place.server.connect("postgres") as connection:
        connection.execute(f"ALTER ROLE {USER} PASSWORD '{PASSWORD}'")
    for command in ("config check", "init"):
        code, text = told(file, command)
        assert (code, text.count(WEAK)) == (0, 1), text
    assert f"warn  database TLS: {WEAK}" in told(file, "doctor")[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres:/sekisho@db1/sekisho", "store.url: write postgresql://"),
        ("postgresq://sekisho@db1/sekisho", "store.url: write sqlite:"),
        ("postgresql://sekisho@db1:54e2/sekisho", "store.url: has a port '54e2'"),
        ("postgresql://sekisho@db1", "store.url: names no database"),
        ("postgresql://sekisho@db1/sekisho?sslmod=require", "store.url: has a keyword 'sslmod'"),
        ("postgresql://sekisho@db1/sekisho?sslmode=requir", "store.url: sslmode is one of"),
        (f"postgresql://sekisho:{PASSWORD}@db1/sekisho", "store.url: holds a password"),
    ],
)
def test_a_typo_in_the_url(place: Place, tmp_path: Path, url: str, expected: str) -> None:
    file = place.settings(tmp_path, url, more=f'ca_file = "{Authority(tmp_path).file}"')
    check(file, expected, code=3, commands=("config check", "init", "doctor"))
    if "sslmod=" in url:
        check(file, expected, code=3, commands=("serve",))
