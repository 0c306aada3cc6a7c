"""Notices from the act to the mailbox: through a real server, a real store and a real mail server, with failures."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import update

from otp_core.accounts import Refused
from otp_core.notices.sender import Sender
from otp_core.store import outbox
from otp_core.store.outbox import Waiting
from otp_core.store.schema import outbox as outbox_table
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port

NEVER_SOON = "first_retry = 3000.0"


def section(port: int, *more: str, tls: str = "none") -> str:
    lines = [
        "[notices]",
        f'smtp = "localhost:{port}"',
        f'tls = "{tls}"',
        'sender = "Example Bank <no-reply@bank.example>"',
        'contact = "0120-000-000"',
        "timeout = 5.0",
        *(more or ("first_retry = 0.2", "longest_retry = 0.5")),
    ]
    return "\n".join(lines)


@contextmanager
def mail_server(folder: Path, port: int, *options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.notices.mail_server", str(folder), str(port), *options]
    process = subprocess.Popen(command)
    try:
        until(lambda: listens(port))
        yield
    finally:
        process.kill()
        process.wait(10)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def mails(folder: Path) -> list[tuple[str, EmailMessage]]:
    """(to whom, the mail), in the order of arrival."""
    found = []
    for path in sorted(folder.glob("*.eml")):
        to, _, content = path.read_bytes().partition(b"\r\n")
        message = message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        found.append((to.decode(), message))
    return found


def waiting(sekisho: Sekisho) -> list[Waiting]:
    with sekisho.store.read() as connection:
        return outbox.lines(connection)


def addressed(sekisho: Sekisho, email: str | None, language: str = "ja", *, enrolled: bool = True) -> Customer:
    """A customer with an address. One who has enrolled had none then: nobody was told."""
    one = sekisho.customer(enrolled=enrolled)
    with sekisho.store.work() as work:
        work.connection.exec_driver_sql(
            "UPDATE profile SET email = ? WHERE customer_key = (SELECT key FROM customer WHERE contract_id = ?)",
            (email, one.contract_id),
        )
        work.connection.exec_driver_sql(
            "UPDATE customer SET language = ? WHERE contract_id = ?", (language, one.contract_id)
        )
    return one


@contextmanager
def running_sekisho(folder: Path, more: str, **options: object) -> Iterator[Sekisho]:
    clients = client_table("gateway", "127.0.0.0/8", "code")
    sekisho = Sekisho(folder, clients=clients, more=more, **options)  # type: ignore[arg-type]
    try:
        yield sekisho
    finally:
        sekisho.close()


def test_a_customer_is_told_in_their_language_and_the_trail_says_so(tmp_path: Path) -> None:
    port = free_port()
    box = tmp_path / "box"
    with mail_server(box, port), running_sekisho(tmp_path, section(port)) as sekisho:
        taro, john, nobody = (
            addressed(sekisho, "taro@a.jp"),
            addressed(sekisho, "john@a.jp", "en"),
            addressed(sekisho, None),
        )
        sekisho.start()
        for one in (taro, john, nobody):
            sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
        until(lambda: len(mails(box)) == 2 and not waiting(sekisho))
        (to_taro, first), (to_john, second) = mails(box)
        assert (to_taro, to_john) == ("taro@a.jp", "john@a.jp")
        assert "利用停止" in first["Subject"] and "suspended" in second["Subject"]
        assert "0120-000-000" in first.get_content()
        rows = sekisho.audit(event="notice.sent")
        assert [row.customer for row in rows] == [taro.contract_id, john.contract_id]
        assert "a.jp" not in repr(rows)
        assert sekisho.stop() == 0
        assert "@a.jp" not in sekisho.log_text()


def test_a_lock_by_radius_is_told_once(tmp_path: Path) -> None:
    port, box = free_port(), tmp_path / "box"
    more = section(port) + "\n[login]\nlock_after = 3\n[throttle]\nfree_failures = 100"
    with mail_server(box, port), running_sekisho(tmp_path, more) as sekisho:
        taro = addressed(sekisho, "taro@a.jp")
        sekisho.start()
        wrong = str((int(taro.code()) + 1) % 10**6).zfill(6)
        for _ in range(5):
            assert sekisho.login(taro.contract_id, wrong) == "Access-Reject"
        until(lambda: mails(box))
        time.sleep(1.5)
        assert [message["Subject"] for _, message in mails(box)] == ["ロックのお知らせ"]


def test_what_is_refused_is_not_told(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, section(free_port(), NEVER_SOON)) as sekisho:
        taro = addressed(sekisho, "taro@a.jp")
        with pytest.raises(Refused):
            sekisho.desk.enrolment.suspend(taro.contract_id, "000000x", STAFF)
        assert waiting(sekisho) == []
        sekisho.desk.enrolment.suspend(taro.contract_id, None, STAFF)
        (told,) = waiting(sekisho)
        assert (told.event, told.email, told.token_id) == ("otp.suspended", "taro@a.jp", taro.token_id)


def test_every_act_that_concerns_a_customer_is_told(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, section(free_port(), NEVER_SOON)) as sekisho:
        taro, desk = addressed(sekisho, "taro@a.jp"), sekisho.desk
        jiro = addressed(sekisho, "jiro@a.jp", enrolled=False)
        desk.enrolment.enrol(jiro.contract_id, jiro.token_id, jiro.code(), STAFF)
        new = sekisho.customer(enrolled=False)
        desk.customers.lock(taro.contract_id, STAFF)
        desk.customers.unlock(taro.contract_id, STAFF)
        desk.enrolment.suspend(taro.contract_id, None, STAFF)
        desk.enrolment.resume(taro.contract_id, STAFF)
        desk.enrolment.report_lost(taro.contract_id, STAFF)
        permit = desk.enrolment.permit_reissue(taro.contract_id, STAFF)
        desk.enrolment.change_by_permit(taro.contract_id, permit.text, new.token_id, new.code(), STAFF)
        assert [one.event for one in waiting(sekisho)] == [
            "otp.enrolled",
            "customer.locked",
            "otp.suspended",
            "otp.resumed",
            "otp.reported-lost",
            "otp.reissue-permitted",
            "otp.device-changed",
        ]
        assert permit.text not in repr(waiting(sekisho))


def test_without_the_section_nothing_is_written(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, "") as sekisho:
        taro = addressed(sekisho, "taro@a.jp")
        sekisho.desk.enrolment.suspend(taro.contract_id, None, STAFF)
        assert waiting(sekisho) == []
        assert "are off: customers hear of no change" in doctor(sekisho)


def test_what_waits_while_the_mail_server_is_down_is_sent_when_it_is_back(tmp_path: Path) -> None:
    port, box = free_port(), tmp_path / "box"
    with running_sekisho(tmp_path, section(port)) as sekisho:
        taro = addressed(sekisho, "taro@a.jp")
        sekisho.start()
        sekisho.desk.enrolment.suspend(taro.contract_id, None, STAFF)
        sekisho.wait_for_log("a notice waits for the mail server")
        until(lambda: waiting(sekisho)[0].attempts >= 2)
        assert f"localhost:{port}" in (waiting(sekisho)[0].error or "")
        assert f"localhost:{port}: Connection refused" in doctor(sekisho)
        with mail_server(box, port):
            until(lambda: not waiting(sekisho))
            assert len(mails(box)) == 1


def test_a_recipient_that_is_refused_for_now_is_tried_again_and_one_for_good_given_up(tmp_path: Path) -> None:
    port, box = free_port(), tmp_path / "box"
    with mail_server(box, port), running_sekisho(tmp_path, section(port)) as sekisho:
        later, never, fine = (addressed(sekisho, f"{name}@a.jp") for name in ("later", "never", "fine"))
        sekisho.start()
        for one in (later, never, fine):
            sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
        until(lambda: mails(box) and any(one.attempts >= 2 for one in waiting(sekisho)))
        states = {one.contract_id: (one.state, one.error) for one in waiting(sekisho)}
        assert states[later.contract_id] == ("pending", "the mail server answered 450")
        until(lambda: sekisho.audit(event="notice.failed"))
        (row,) = sekisho.audit(event="notice.failed")
        assert row.customer == never.contract_id and "answered 550" in row.reason and "a.jp" not in row.reason
        told = command(sekisho, "notice", "list", "--failed", "--json")
        assert json.loads(told)["contract_id"] == never.contract_id
        assert "1 were given up" in doctor(sekisho)
        assert "1 notice is due again" in command(sekisho, "notice", "retry")
        until(lambda: len(sekisho.audit(event="notice.failed")) == 2)


def test_a_notice_that_stays_undeliverable_is_given_up_in_the_end(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, section(free_port())) as sekisho:
        taro = addressed(sekisho, "taro@a.jp")
        sekisho.desk.enrolment.suspend(taro.contract_id, None, STAFF)
        days = 73 * 3600 * 1_000_000 << 10
        with sekisho.store.work() as work:
            work.connection.exec_driver_sql("UPDATE outbox SET key = key - ?", (days,))
        sekisho.start()
        until(lambda: sekisho.audit(event="notice.failed"))
        assert "not delivered within 72 hours" in sekisho.audit(event="notice.failed")[0].reason


def test_kill_9_between_sending_and_noting_it_loses_nothing_and_the_second_is_known_by_its_name(tmp_path: Path) -> None:
    port, box = free_port(), tmp_path / "box"
    with mail_server(box, port), running_sekisho(tmp_path, section(port)) as sekisho:
        taro = addressed(sekisho, "slow@a.jp")
        sekisho.start()
        sekisho.desk.enrolment.suspend(taro.contract_id, None, STAFF)
        until(lambda: mails(box))  # taken, but not acknowledged yet
        sekisho.kill()
        assert len(waiting(sekisho)) == 1
        with sekisho.store.work() as work:  # as if the dead sender's claim had run out, and the mailbox were quick now
            work.connection.exec_driver_sql("UPDATE outbox SET claimed_until = 0, email = 'taro@a.jp'")
        sekisho.start()
        until(lambda: not waiting(sekisho))
        (_, first), (_, second) = mails(box)
        assert first["Message-ID"] == second["Message-ID"]


def test_two_workers_send_each_notice_once(tmp_path: Path) -> None:
    port, box = free_port(), tmp_path / "box"
    listen = (f"127.0.0.1:{free_port()}",)
    with mail_server(box, port), running_sekisho(tmp_path, section(port), workers=2, listen=listen) as sekisho:
        people = [addressed(sekisho, f"p{number}@a.jp") for number in range(30)]
        sekisho.start()
        for one in people:
            sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
        until(lambda: not waiting(sekisho), 60)
        assert sorted(to for to, _ in mails(box)) == sorted(f"p{number}@a.jp" for number in range(30))


def test_a_claim_is_one_senders_until_it_runs_out(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, section(free_port(), NEVER_SOON)) as sekisho:
        sekisho.desk.enrolment.suspend(addressed(sekisho, "taro@a.jp").contract_id, None, STAFF)
        now = int(time.time() * 1000) + 1000
        with sekisho.store.work() as work:
            assert len(outbox.claim(work.connection, now, now + 5000, 10)) == 1
            assert outbox.claim(work.connection, now + 4999, now + 9000, 10) == []
            assert not outbox.is_due(work.connection, now + 4999)
            assert len(outbox.claim(work.connection, now + 5000, now + 9000, 10)) == 1


def test_what_was_given_up_a_quarter_ago_is_deleted_and_its_row_of_the_trail_stays(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, section(free_port(), NEVER_SOON)) as sekisho:
        for name in ("old", "failed", "pending"):
            sekisho.desk.enrolment.suspend(addressed(sekisho, f"{name}@a.jp").contract_id, None, STAFF)
        assert sekisho.settings.notices is not None
        with sekisho.store.work() as work:
            old, failed, _ = outbox.lines(work.connection)
            assert outbox.give_up(work.connection, old.key, "no such user")
            assert outbox.give_up(work.connection, failed.key, "no such user")
            age = (outbox.KEPT_MS + 60_000) * 1000 << 10
            aged = update(outbox_table).where(outbox_table.c.email != "failed@a.jp")
            work.connection.execute(aged.values(key=outbox_table.c.key - age))
        suspended = len(sekisho.audit(event="otp.suspended"))
        for settled, left in ((False, 3), (True, 2)):
            sender = Sender(sekisho.store, sekisho.settings.notices, lambda: 0, partial(bool, settled))
            sender.forget(int(time.time() * 1000))
            assert len(waiting(sekisho)) == left
        assert sorted(one.email for one in waiting(sekisho)) == ["failed@a.jp", "pending@a.jp"]
        assert len(sekisho.audit(event="otp.suspended")) == suspended == 3


@pytest.mark.parametrize("trusted", [True, False])
def test_starttls_with_a_login_and_never_to_a_server_that_is_not_trusted(tmp_path: Path, trusted: bool) -> None:
    port, box, secret = free_port(), tmp_path / "box", "the-mail-servers-password"
    certificate, key = issued_to_localhost(tmp_path)
    (tmp_path / "mail.password").write_text(secret + "\n")
    (tmp_path / "mail.password").chmod(0o600)
    more = ['username = "sekisho"', 'password_file = "mail.password"', "first_retry = 0.2"]
    more += ['ca_file = "certificate.pem"'] if trusted else []
    options = ("--certificate", str(certificate), "--key", str(key), "--password", secret)
    with mail_server(box, port, *options), running_sekisho(tmp_path, section(port, *more, tls="starttls")) as sekisho:
        sekisho.start()
        sekisho.desk.enrolment.suspend(addressed(sekisho, "taro@a.jp").contract_id, None, STAFF)
        if trusted:
            until(lambda: mails(box) and not waiting(sekisho))
        else:
            until(lambda: waiting(sekisho)[0].attempts >= 2)
            assert mails(box) == []
            assert "TLS" in (waiting(sekisho)[0].error or "")
        sekisho.stop(signal.SIGTERM)
        said = sekisho.log_text() + repr(sekisho.audit()) + repr(waiting(sekisho))
        assert secret not in said
        for path in tmp_path.glob("s.db*"):
            assert secret.encode() not in path.read_bytes()


def issued_to_localhost(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


def command(sekisho: Sekisho, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    return done.stdout + done.stderr


def doctor(sekisho: Sekisho) -> str:
    return command(sekisho, "doctor")
