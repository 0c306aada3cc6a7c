"""A part of the store that is deleted or replaced while the server runs: nothing that was acknowledged is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journeys.faults import SILENT, command
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, names
from tests.sekisho import SECRET, Customer, Sekisho, client_table, free_port

pytestmark = pytest.mark.sqlite_files

CLIENTS = "request_seconds = 2.0\n" + client_table("gateway", "127.0.0.0/8", "code")
STOPPED = 5


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def sekisho(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sekisho]:
    made = Sekisho(tmp_path, CLIENTS, listen=(f"127.0.0.1:{free_port()}",), workers=request.param)
    try:
        yield made.start()
        assert made.traceback() == ""
    finally:
        made.close()


def ask(sekisho: Sekisho, customers: list[Customer], codes: list[str], wait: float = 4.0) -> list[str]:
    packets = [access_request(one.contract_id, code, secret=SECRET) for one, code in zip(customers, codes, strict=True)]
    with Peers(sekisho.where, 8) as peers:
        return names(peers.ask_all(packets, wait=wait))


def log_in(sekisho: Sekisho, number: int) -> tuple[list[Customer], list[str]]:
    crowd = sekisho.crowd(number)
    codes = [one.code() for one in crowd]
    assert ask(sekisho, crowd, codes) == [ACCEPT] * number
    return crowd, codes


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def empty(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize("change", [delete, replace, empty])
@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_a_lost_log_or_index_is_put_right_by_a_restart(
    sekisho: Sekisho, ending: str, change: Callable[[Path], None]
) -> None:
    crowd, codes = log_in(sekisho, 40)
    later = sekisho.crowd(10)
    late_codes = [one.code() for one in later]
    change(Path(f"{sekisho.database}{ending}"))
    heard = ask(sekisho, later, late_codes, wait=1.0)
    assert set(heard) == {SILENT}
    assert sekisho.process is not None and sekisho.process.wait(20) == STOPPED
    sekisho.process = None
    assert f"{ending} was deleted or replaced while the server ran" in sekisho.log_text()
    sekisho.start()
    assert "the store was written anew" in sekisho.log_text()
    assert ask(sekisho, crowd, codes) == [REJECT] * 40, "nothing that was acknowledged is lost"
    assert len(sekisho.audit(event="login.accepted")) >= 40
    assert not sekisho.audit(event="store.lost-time-voided")
    log_in(sekisho, 5)


def test_a_log_that_is_lost_together_with_the_server_is_treated_as_a_restore(sekisho: Sekisho) -> None:
    """Nobody was left to copy it: what was accepted is not known any more, so its codes are void."""
    crowd, codes = log_in(sekisho, 40)
    sekisho.kill()
    Path(f"{sekisho.database}-wal").unlink()
    sekisho.start()
    assert "every code that may have been used since is void" in sekisho.log_text()
    assert ask(sekisho, crowd, codes) == [REJECT] * 40
    assert len(sekisho.audit(event="store.lost-time-voided")) == 1


def test_a_command_refuses_an_act_that_the_server_would_not_see(sekisho: Sekisho) -> None:
    log_in(sekisho, 1)
    (customer,) = sekisho.crowd(1)
    Path(f"{sekisho.database}-shm").unlink()
    done = command(sekisho, "customer", "lock", customer.contract_id)
    assert done.returncode == 4
    assert "was deleted or replaced while the server runs" in done.stderr or "next start of the server" in done.stderr
    assert sekisho.process is not None and sekisho.process.wait(20) == STOPPED
    sekisho.process = None
    sekisho.start()
    assert command(sekisho, "customer", "lock", customer.contract_id).returncode == 0
    assert ask(sekisho, [customer], [customer.code()]) == [REJECT]


def test_a_store_by_a_symbolic_link_loses_nothing(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    made = Sekisho(tmp_path, CLIENTS, listen=(f"127.0.0.1:{free_port()}",), disk=link)
    try:
        made.start()
        crowd, codes = log_in(made, 20)
        made.kill()
        made.start()
        assert ask(made, crowd, codes) == [REJECT] * 20
        assert {file.name for file in real.glob("s.db*")} >= {"s.db", "s.db-wal", "s.db-shm", "s.db.state"}
    finally:
        made.close()


def test_a_folder_that_is_moved_while_it_is_served(sekisho: Sekisho) -> None:
    """Silence, and nothing is lost where it was moved to."""
    crowd, codes = log_in(sekisho, 10)
    away = sekisho.folder / "away"
    away.mkdir()
    for file in [*sekisho.folder.glob("s.db*")]:
        file.rename(away / file.name)
    assert set(ask(sekisho, crowd, codes, wait=1.0)) == {SILENT}
    for file in [*away.glob("s.db*")]:
        file.rename(sekisho.folder / file.name)
    assert ask(sekisho, crowd, codes) == [REJECT] * 10
    log_in(sekisho, 5)
