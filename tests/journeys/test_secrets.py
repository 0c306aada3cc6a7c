"""Nothing secret gets out: after a day at the bank, every octet that was written anywhere is searched for every seed,
password, code, permit, shared secret and key, in every form that they could have taken.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import sql

from otp_core.model import TokenSpec
from otp_core.store.schema import metadata
from otp_core.store.sqlite import driver
from tests import postgresql
from tests.journeys.command_line import CommandLine
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, access_request, names, status_server
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port

MODES = {"code": "127.0.1.1", "challenge": "127.0.2.1", "append": "127.0.3.1", "auto": "127.0.4.1"}
MODES |= {"password": "127.0.5.1"}
JOINING, AT_RISK = "127.0.6.1", "127.0.7.1"
DIGITS = 8
"""Codes of eight digits hardly turn up by chance."""


@dataclass
class Secrets:
    """What must not be found, by its name; each in every form that it could have taken."""

    forms: dict[str, list[bytes]] = field(default_factory=dict)
    codes: dict[str, re.Pattern[bytes]] = field(default_factory=dict)

    def add(self, name: str, octets: bytes) -> None:
        base32, base64_ = base64.b32encode(octets).rstrip(b"="), base64.b64encode(octets).rstrip(b"=")
        forms = {octets, octets.hex().encode(), octets.hex().upper().encode(), base32, base32.lower(), base64_}
        forms |= {base64.urlsafe_b64encode(octets).rstrip(b"="), repr(octets)[2:-1].encode()}
        with contextlib.suppress(UnicodeDecodeError):
            text = octets.decode()
            forms |= {json.dumps(text)[1:-1].encode(), repr(text)[1:-1].encode(), ascii(text)[1:-1].encode()}
            forms |= {text.encode("utf-16-le"), text[::-1].encode()}
        self.forms[name] = sorted(forms)

    def text(self, name: str, text: str) -> str:
        self.add(name, text.encode())
        return text

    def code(self, code: str) -> str:
        self.codes[f"code {code}"] = re.compile(rb"(?<![0-9])" + code.encode() + rb"(?![0-9])")
        self.codes[f"wide code {code}"] = re.compile(re.escape("".join(chr(ord(x) + 0xFEE0) for x in code).encode()))
        return code

    def found_in(self, written: bytes) -> list[str]:
        # Copies: somebody may learn of a new one while another looks.
        found = [name for name, forms in list(self.forms.items()) if any(form in written for form in forms)]
        return found + [name for name, code in list(self.codes.items()) if code.search(written)]


@dataclass
class Day:
    """A house whose every secret is known."""

    sekisho: Sekisho
    secrets: Secrets
    shared: dict[str, str]
    inputs: set[Path] = field(default_factory=set)

    def customer(self, password: str | None = None, *, enrolled: bool = True) -> Customer:
        password = secrets.token_urlsafe(12) if password is None else password
        one = self.sekisho.customer(password, enrolled=False, spec=TokenSpec(digits=DIGITS))
        self.secrets.add(f"seed of {one.token_id}", one.seed)
        if password:
            self.secrets.text(f"password of {one.contract_id}", password)
        if enrolled:
            self.sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, self.code(one, -1), STAFF)
        return one

    def code(self, one: Customer, steps_away: int = 0) -> str:
        return self.secrets.code(one.code(steps_away))

    def ask(self, mode: str, user: str, user_password: str, state: bytes | None = None) -> Packet:
        return access_request(user, user_password, secret=self.shared[mode], state=state)

    def file(self, name: str, text: str) -> str:
        path = self.sekisho.folder / name
        path.write_text(text)
        self.inputs.add(path)
        return str(path)

    def written(self) -> dict[str, bytes]:
        """Everything in the core's folder, and in the database, that nobody but Sekisho has written."""
        given = {self.sekisho.config, self.sekisho.folder / "master.key", *self.inputs}
        files = [path for path in self.sekisho.folder.rglob("*") if path.is_file() and path not in given]
        return {path.name: path.read_bytes() for path in files} | self._tables()

    def _tables(self) -> dict[str, bytes]:
        """Of a store that is no file of this machine: its tables, as the server holds their values."""
        if self.sekisho.store.database.file is not None:
            return {}
        found = {}
        with postgresql.server().connect(self.sekisho.store.database.name) as other:
            for name in metadata.tables:
                query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(sql.Identifier(name))
                with other.cursor().copy(query) as copied:
                    found[f"table {name}"] = b"".join(map(bytes, copied))
        return found


@contextmanager
def a_day(folder: Path, log: str) -> Iterator[Day]:
    known = Secrets()
    shared = {name: known.text(f"secret of {name}", secrets.token_urlsafe(24)) for name in (*MODES, "joining", "risk")}
    tables = [client_table(mode, at, mode, secret=f'"{shared[mode]}"') for mode, at in MODES.items()]
    tables.append(client_table("joining", JOINING, "code", secret=f'"{shared["joining"]}"', repeated_login_seconds=2))
    risk = {"require_message_authenticator": False, "limit_proxy_state": False, "charset": '"cp932"'}
    tables.append(client_table("risk", AT_RISK, "challenge", secret=f'"{shared["risk"]}"', **risk))
    more = f'[login]\ncode_window = 3\n[log]\nlevel = "debug"\nformat = "{log}"\n'
    sekisho = Sekisho(folder, "".join(tables), more, listen=(f"127.0.0.1:{free_port()}",))
    master = base64.b64decode((folder / "master.key").read_text())
    known.add("master key", master)
    for purpose in (b"sekisho seed v1", b"sekisho fingerprint v1"):
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(master)
        known.add(f"key for {purpose.decode()}", derived)
    try:
        yield Day(sekisho, known, shared)
    finally:
        sekisho.close()


@contextmanager
def process_list(watched: Secrets) -> Iterator[set[str]]:
    """What of it was seen in any process's arguments, by somebody who looks all the time."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            lines = []
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    lines.append(path.read_bytes())
            seen.update(watched.found_in(b"\n".join(lines)))
            over.wait(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


# Whether the search finds anything at all


@pytest.mark.parametrize("form", [bytes, bytes.hex, base64.b32encode, base64.b64encode, base64.urlsafe_b64encode, repr])
def test_the_search_finds_a_secret_in_any_form(form: object) -> None:
    known, seed = Secrets(), os.urandom(20)
    known.add("seed", seed)
    planted = form(seed)  # type: ignore[operator]
    octets = planted if isinstance(planted, bytes) else planted.encode()
    assert known.found_in(b"before " + octets + b" behind") == ["seed"]
    assert known.found_in(os.urandom(1000)) == []


def test_the_search_finds_a_code_and_not_a_longer_number() -> None:
    known = Secrets()
    known.code("12345678")
    assert known.found_in(b"code=12345678,") and known.found_in("１２３４５６７８".encode())
    assert known.found_in(b"id=1123456789") == []


def test_the_search_finds_what_a_process_is_told(tmp_path: Path) -> None:
    known = Secrets()
    told = known.text("password", secrets.token_urlsafe(12))
    with process_list(known) as seen, subprocess.Popen([sys.executable, "-c", "input()", told], stdin=subprocess.PIPE):
        threading.Event().wait(0.3)
    assert seen == {"password"}


# The server


@pytest.mark.parametrize("log", ["text", "json"])
def test_nothing_secret_gets_out_of_the_server(tmp_path: Path, log: str) -> None:
    with a_day(tmp_path, log) as day, process_list(day.secrets) as seen:
        sekisho = day.sekisho
        people = {mode: day.customer() for mode in MODES}
        kanji = day.customer("秘密の合言葉・" + secrets.token_hex(4))
        sekisho.start()
        for mode, one in people.items():
            with Peers(sekisho.where, 2, MODES[mode]) as peers:
                log_in_right_and_wrong(day, peers, mode, one)
        with Peers(sekisho.where, 2, MODES["challenge"]) as peers:
            assert names([peers.ask(day.ask("challenge", kanji.contract_id, kanji.password))]) == [CHALLENGE]
            ask_nonsense(day, peers, kanji)
        with Peers(sekisho.where, 2, AT_RISK) as peers:
            peers.ask(day.ask("risk", kanji.contract_id, kanji.password), wait=0.5)  # UTF-8 where cp932 is expected
        with Peers(sekisho.where, 2, JOINING) as peers:
            code = day.code(people["code"], 3)
            joined = [day.ask("joining", people["code"].contract_id, code) for _ in range(2)]
            assert names(peers.ask_all(joined)) == [ACCEPT] * 2
        reload_with_errors(day)
        break_things(day)
        assert sekisho.stop() == 0
        sekisho.start()
        with Peers(sekisho.where, 2, MODES["password"]) as peers:
            one = people["password"]
            assert names([peers.ask(day.ask("password", one.contract_id, one.password))]) == [ACCEPT]
        sekisho.kill()  # so that the log of the store is left behind, and searched as well
        assert seen == set()
        check_nothing_got_out(day)
        assert sekisho.log_text().count("Traceback") > 0 or "exception" in sekisho.log_text(), "no crash was provoked"


def check_nothing_got_out(day: Day) -> None:
    written = day.written()
    is_file = day.sekisho.store.database.file is not None
    of_store = {"s.db", "s.db-wal", "s.db-shm"} if is_file else {"table customer", "table audit", "table challenge"}
    assert {"server.log"} | of_store <= written.keys()
    assert {name: found for name, octets in written.items() if (found := day.secrets.found_in(octets))} == {}


def log_in_right_and_wrong(day: Day, peers: Peers, mode: str, one: Customer) -> None:
    user, wrong = one.contract_id, day.secrets.text(f"wrong password in {mode}", secrets.token_urlsafe(12))
    wrong_code = day.secrets.code(f"{(int(one.code()) + 1) % 10**DIGITS:0{DIGITS}d}")
    code = day.code(one)
    if mode == "challenge":
        first = peers.ask(day.ask(mode, user, one.password))
        assert first is not None
        second = peers.ask(day.ask(mode, user, wrong_code, first.state))
        assert second is not None and second.name == CHALLENGE
        right = [day.ask(mode, user, code, second.state)]
        rest = [(wrong, None), (code, second.state), (code, os.urandom(16)), (one.password, None)]
    else:
        password = "" if mode == "code" else one.password
        right = [day.ask(mode, user, password + ("" if mode == "password" else code))]
        rest = [(password + wrong_code, None), (wrong, None), (wrong + code, None), (password + code, None), ("", None)]
    assert names([peers.ask(packet) for packet in right * 2]) == [ACCEPT] * 2
    peers.ask_all([day.ask(mode, user, user_password, state) for user_password, state in rest], wait=0.7)
    peers.ask(day.ask(mode, "nobody", one.password), wait=0.7)
    mistaken = access_request(user, one.password, secret=day.secrets.text("mistaken", secrets.token_urlsafe(24)))
    assert peers.ask(mistaken, wait=0.2) is None
    assert peers.ask(status_server(secret=day.shared[mode])) is not None


def ask_nonsense(day: Day, peers: Peers, one: Customer) -> None:
    """Packets cut short, prolonged, damaged octet by octet; CHAP; a password that is no text; two passwords."""
    sound = day.ask("challenge", one.contract_id, one.password).octets
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.bind((MODES["challenge"], 0))
        for at in range(0, len(sound), 3):
            raw.sendto(sound[:at], day.sekisho.where)
            raw.sendto(sound[:at] + bytes((sound[at] ^ 0xFF,)) + sound[at + 1 :], day.sekisho.where)
        raw.sendto(sound + bytes(5000), day.sekisho.where)
    secret = day.shared["challenge"]
    attributes = ((3, bytes(17)), (2, bytes(16)), (1, b"x" * 253), (79, b"\1"), (24, b"s"), (24, b"t"))
    for attribute in attributes:
        odd = access_request(one.contract_id, one.password, secret=secret, more=[attribute])
        assert names([peers.ask(odd, at=1, wait=0.3)])[0] in (REJECT, "silence")
    no_text = access_request(one.contract_id, "", secret=secret, authenticator=bytes(16))
    peers.ask(no_text, at=1, wait=0.3)


def reload_with_errors(day: Day) -> None:
    """Each way of getting a secret wrong in the settings; then the right ones again."""
    sekisho, good = day.sekisho, day.sekisho.config.read_text()
    assert sekisho.process is not None
    for number, wrong in enumerate(spoilt(day), 1):
        sekisho.config.write_text(wrong)
        sekisho.process.send_signal(signal.SIGHUP)
        sekisho.wait_for_log("not reloaded", times=number)
    sekisho.config.write_text(good)
    since = len(sekisho.log_text())
    sekisho.process.send_signal(signal.SIGHUP)
    sekisho.wait_for_log("reloaded", since=since)


def spoilt(day: Day) -> list[str]:
    """The settings, with a secret given in every wrong way that comes to mind."""
    good, old = day.sekisho.config.read_text(), day.shared["code"]
    line = f'secret = "{old}"'
    new = day.secrets.text("secret to be", secrets.token_urlsafe(24))
    short = day.secrets.text("short secret", secrets.token_urlsafe(9)[:12])
    day.file("short.secret", short)
    wrong = [
        good.replace(line, change)
        for change in (
            f'secret = "{new}',
            f"secret = {new}",
            f'secret = "{new}" {short}',
            f'secret = "{short}"',
            f'secret = ["{new}"]',
            f'secret = {{a = "{new}"}}',
            f'secrets = "{new}"',
            'secret_file = "short.secret"',
            f'secret = "{new}"\nsecret_file = "short.secret"',
            f'secret = "{new}"\nsecret = "{old}"',
            f'secret = "{new}"\njoin_seconds = "{short}"',
        )
    ]
    wrong.append(good.replace('mode = "code"', f'mode = "{short}"'))
    assert good not in wrong
    return wrong


DAMAGE = (
    "token SET seed = :zeros WHERE token_id = :token",
    "token SET algorithm = 'md5' WHERE token_id = :token",
    "customer SET attributes = '{broken' WHERE contract_id = :contract",
    "customer SET language = 'xx' WHERE contract_id = :contract",
    "profile SET password_hash = 'broken' WHERE customer_key ="
    " (SELECT key FROM customer WHERE contract_id = :contract)",
)


LOCKING = (["BEGIN EXCLUSIVE"], ["BEGIN", "LOCK TABLE customer, token"])
"""In SQLite, in PostgreSQL."""


@contextmanager
def stranger_to(sekisho: Sekisho) -> Iterator[Callable[[str, dict[str, object]], object]]:
    """Runs statements that the store does not know of; values are named as ``:name``."""
    if sekisho.store.database.file is not None:
        with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as store:
            yield store.execute
        return
    with postgresql.server().connect(sekisho.store.database.name) as other:
        yield lambda statement, values: other.execute(re.sub(r":(\w+)", r"%(\1)s", statement).encode(), values)


def break_things(day: Day) -> None:
    """What the store holds is damaged row by row, and each is met by a right login; then the store is locked."""
    sekisho = day.sekisho
    *victims, unharmed = [day.customer() for _ in range(len(DAMAGE) + 1)]
    with stranger_to(sekisho) as execute, Peers(sekisho.where, 1, MODES["append"]) as peers:
        for one, damage in zip(victims, DAMAGE, strict=True):
            execute(f"UPDATE {damage}", {"token": one.token_id, "contract": one.contract_id, "zeros": bytes(49)})
            peers.ask(day.ask("append", one.contract_id, one.password + day.code(one)), wait=0.3)
        for statement in LOCKING[sekisho.store.database.file is None]:
            execute(statement, {})
        locked = day.ask("append", unharmed.contract_id, unharmed.password + day.code(unharmed))
        assert peers.ask(locked, wait=0.5) is None
        execute("ROLLBACK", {})
        assert names([peers.ask(locked)]) == [ACCEPT]


# The command line


def test_nothing_secret_gets_out_of_the_command_line(tmp_path: Path) -> None:
    with a_day(tmp_path, "text") as day:
        at = CommandLine(day.sekisho)
        once = [*import_and_issue_tokens(day, at), *import_customers(day, at), *act(day, at)]
        for words in (
            ("customer", "list", "--json"),
            ("token", "list", "--json"),
            ("audit", "--limit", "0"),
            ("audit", "--limit", "0", "--json"),
            ("audit", "--limit", "0", "--csv"),
            ("config", "show"),
            ("config", "check"),
        ):
            at.run(*words)
        check_config_errors(day, at)
        for said in at.said:
            out = said.out
            for permitted in once:
                out = out.replace(permitted, "")
            assert day.secrets.found_in(f"{out}{said.err}".encode()) == [], said
        for permitted in once:
            assert sum(said.out.count(permitted) for said in at.said) >= 1, "what is shown once was not searched for"
        written = day.written()
        assert {name: found for name, octets in written.items() if (found := day.secrets.found_in(octets))} == {}


def import_and_issue_tokens(day: Day, at: CommandLine) -> list[str]:
    """What was shown once: the seeds of issued tokens, each by itself and in a provisioning URI."""
    seeds = [os.urandom(20) for _ in range(4)]
    for number, seed in enumerate(seeds):
        day.secrets.add(f"imported seed {number}", seed)
    rows = [f"VSMT9000000{number},{seed.hex()},totp,{DIGITS},30" for number, seed in enumerate(seeds)]
    at.run("token", "import", day.file("tokens.csv", "\n".join(rows[:3])))
    at.run("token", "import", day.file("again.csv", "\n".join(rows)), code=1)
    wrong = (
        f"VSMT90000009,{seeds[3].hex()}0,totp,{DIGITS},30",
        f"VSMT90000009,{seeds[3].hex()}zz,totp,{DIGITS},30",
        f"{seeds[3].hex()},VSMT90000009,totp,{DIGITS},30",
        f"VSMT90000009,totp,{seeds[3].hex()},{DIGITS},30",
        f"VSMT90000009,{seeds[3].hex()},totp,{seeds[3].hex()},30",
        f"VSMT90000009,{base64.b32encode(seeds[3]).decode()},totp,{DIGITS},30",
        f"VSMT90000009,{seeds[3].hex()}",
        f'"VSMT90000009,{seeds[3].hex()},totp,{DIGITS},30',
    )
    for number, row in enumerate(wrong):
        at.run("token", "import", day.file(f"wrong{number}.csv", row), code=1)
    at.run("token", "import", day.file("wrong.csv", "\n".join(wrong)), code=1)
    shown: list[str] = []
    for words in (("--json",), ("--issuer", "Example Bank"), ("--algorithm", "sha256", "--digits", "8")):
        out = at.run("token", "issue", *words).out
        secret = re.findall(r"secret=([A-Z2-7]+)", out)[0]
        day.secrets.add(f"issued seed {len(shown)}", base64.b32decode(secret + "=" * (-len(secret) % 8)))
        shown.append(secret)
    at.run("token", "show", "VSMT90000000")
    at.run("token", "show", "VSMT90000000", "--json")
    return shown


def import_customers(day: Day, at: CommandLine) -> list[str]:
    passwords = [day.secrets.text(f"imported password {number}", secrets.token_urlsafe(12)) for number in range(4)]
    at.run("customer", "add", "hanako", "--password", "--stdin", user_password=f"{passwords[0]}\n")
    at.run("customer", "add", "hanako", "--password", "--stdin", user_password=f"{passwords[0]}\n", code=1)
    header = "contract_id,password,token_id"
    at.run("customer", "import", day.file("customers.csv", f"{header}\njiro,{passwords[1]},VSMT90000000\n"))
    for number, row in enumerate(
        (
            f"jiro,{passwords[2]},",
            f"saburo,{passwords[2]},VSMT00000000",
            f"saburo,{passwords[2]},VSMT90000001,{passwords[3]}",
            f"saburo,,{passwords[2]}",
            f'saburo,"{passwords[2]},VSMT90000001',
            f"saburo,{passwords[2]}\0,VSMT90000001",
        )
    ):
        at.run("customer", "import", day.file(f"bad{number}.csv", f"{header}\n{row}\n"), code=1)
    hashed = f"contract_id,password_hash\nsaburo,{passwords[2]}\n"
    at.run("customer", "import", day.file("hashed.csv", hashed), code=1)
    return []


def act(day: Day, at: CommandLine) -> list[str]:
    """Every act of the counter, right and wrong. What was shown once: the permits."""
    one, spare, other, drifted = day.customer(), *(day.customer(enrolled=False) for _ in range(2)), day.customer()
    wrong = day.secrets.code("90817263")
    new = day.customer(enrolled=False)
    at.run("enrol", new.contract_id, new.token_id, "--stdin", user_password=f"{wrong}\n", code=1)
    at.run("enrol", new.contract_id, new.token_id, "--stdin", user_password=f"{day.code(new)}\n")
    at.run("enrol", new.contract_id, new.token_id, "--stdin", user_password=f"{day.code(new)}\n", code=1)
    at.run("suspend", one.contract_id, "--with-code", "--stdin", user_password=f"{wrong}\n", code=1)
    at.run("suspend", one.contract_id, "--with-code", "--stdin", user_password=f"{day.code(one)}\n")
    at.run("resume", one.contract_id)
    at.run("change", one.contract_id, spare.token_id, "--stdin", user_password=f"{wrong}\n{day.code(spare)}\n", code=1)
    at.run(
        "change", one.contract_id, spare.token_id, "--stdin", user_password=f"{day.code(one, 1)}\n{day.code(spare)}\n"
    )
    at.run("resync", drifted.contract_id, "--stdin", user_password=f"{wrong}\n{day.code(drifted, 9)}\n", code=1)
    pair = f"{day.code(drifted, 9)}\n{day.code(drifted, 10)}\n"
    at.run("resync", drifted.contract_id, "--stdin", user_password=pair)
    at.run("report-lost", one.contract_id)
    permits = [json.loads(at.run("permit-reissue", one.contract_id, "--json").out)["permit"]]
    shown = at.run("permit-reissue", one.contract_id).out
    permits += re.findall(r"\b[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}\b", shown)
    for permit in permits:
        day.secrets.text("permit " + permit, permit)
        day.secrets.text("permit without hyphens " + permit, permit.replace("-", ""))
    for permit, code in ((permits[0], 1), (permits[1], 0)):
        user_password = f"{permit}\n{day.code(other)}\n"
        at.run("change", one.contract_id, other.token_id, "--permit", "--stdin", user_password=user_password, code=code)
    at.run("customer", "show", one.contract_id, "--json")
    at.run("token", "show", other.token_id)
    return permits


def check_config_errors(day: Day, at: CommandLine) -> None:
    good = day.sekisho.config.read_text()
    for wrong in spoilt(day):
        day.sekisho.config.write_text(wrong)
        at.run("config", "check", code=3)
        at.run("config", "show", code=3)
    day.sekisho.config.write_text(good)
