"""`sekisho demo` as a newcomer meets it: start it, read what it prints, paste that into another shell."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.command_line import run
from tests.sekisho import free_port
from tests.temporary import usual

SHOWN = [
    ("Access-Accept", "hanako: password and code in one"),
    ("Access-Reject", "hanako: the same code again"),
    ("Access-Challenge", "john: the password"),
    ("Access-Accept", "john: the code"),
    ("Access-Accept", "jiro: never enrolled"),
    ("Access-Reject", "jiro: a wrong password"),
]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One demo after another: two that start at once would choose the same free ports."""
    with (usual() / "sekisho-demo-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo that serves, and what it has printed."""
    command = [sys.executable, "-u", "-m", "sekisho", "demo", "--folder", str(folder)]
    lines = []
    with alone():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("It serves until"):
                break
    assert "\n  no " not in "".join(lines), ("".join(lines), (folder / "server.log").read_text())
    try:
        yield process, "".join(lines)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def paste(line: str) -> str:
    """What a shell prints."""
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False).stdout


def lines_to_paste(printed: str) -> list[str]:
    return [line.strip() for line in printed.splitlines() if "| radclient" in line]


def early_in_a_step() -> None:
    """Wait for a moment from which some logins fit into one step of 30 s."""
    late = time.time() % 30 - 15
    if late > 0:
        time.sleep(16 - late)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with demo(tmp_path_factory.mktemp("demo") / "bank") as running:
        yield running


def test_the_tour_shows_every_kind_of_answer(served: tuple[subprocess.Popen[str], str]) -> None:
    shown = re.findall(r"^  (Access-\w+) +(.*)$", served[1], re.MULTILINE)
    assert len(shown) == len(SHOWN)
    for (answer, text), (expected, title) in zip(shown, SHOWN, strict=True):
        assert (answer, text.startswith(title)) == (expected, True)


def test_what_the_lines_need_and_is_not_here_is_named_with_its_packages(tmp_path: Path) -> None:
    (tmp_path / "curl").symlink_to("/bin/true")
    shows = """
from sekisho.demo import tour
from sekisho.demo.addresses import DemoAddresses
tour.show_logins([], DemoAddresses(1, 2, 3, 4, 5, 6, 7, False, "secret"))
"""
    done = subprocess.run(
        [sys.executable, "-c", shows],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == (
        "Not installed here: radclient, oathtool. As root: apt-get install freeradius-utils oathtool"
    )


def addresses(printed: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"http://localhost:[0-9]+/", printed)))


def test_the_banks_address_comes_first_and_every_address_answers(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    assert served[1].strip().startswith("Open the bank:")
    found = addresses(served[1])
    assert len(found) == 6
    for address in found[:5]:
        with urllib.request.urlopen(address, timeout=60) as page:  # noqa: S310
            assert page.status == 200
    with urllib.request.urlopen(found[0], timeout=60) as page:  # noqa: S310
        html = page.read().decode()
    assert f"{found[1]}enrol" in html and f"{found[1]}suspend" in html


def test_the_api_describes_itself_and_answers_the_printed_call(served: tuple[subprocess.Popen[str], str]) -> None:
    (described,) = re.findall(r"^JSON API: +(\S+)", served[1], re.MULTILINE)
    with urllib.request.urlopen(described, timeout=60) as answer:  # noqa: S310
        assert json.load(answer)["openapi"].startswith("3.1")
    printed = [line for line in served[1].splitlines() if line.startswith("  KEY=") or "| curl" in line]
    lines = "\n".join(printed).replace("$(sekisho ", f"$({sys.executable} -m sekisho ")
    assert json.loads(paste(lines))["contract_id"] == "taro"


def test_there_is_a_customer_for_every_state_and_a_permit_for_the_lost_one(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    states = dict(
        re.findall(r"^  (\w+) +\S+ +(active|never enrolled|suspended|locked|lost)  ", served[1], re.MULTILINE)
    )
    assert set(states.values()) == {"active", "never enrolled", "suspended", "locked", "lost"}
    assert re.search(r"^  yuki .*\n +permit: \S{4}-\S{4}-\S{4}$", served[1], re.MULTILINE)


def ends_with_all_its_processes(process: subprocess.Popen[str], printed: str, number: int) -> None:
    process.send_signal(number)
    process.wait(60)
    for address in addresses(printed):
        with pytest.raises(OSError):
            urllib.request.urlopen(address, timeout=60)  # noqa: S310


def test_the_printed_line_is_accepted_once_and_the_challenge_answered(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    in_one, first_round, second_round = lines_to_paste(served[1])
    early_in_a_step()
    first = paste(in_one)
    assert "Received Access-Accept" in first
    assert 'Cisco-AVPair = "shell:priv-lvl=1"' in first
    assert "Received Access-Reject" in paste(in_one)
    time.sleep(31 - time.time() % 30)  # the next code
    assert "Received Access-Accept" in paste(f"{first_round}\n{second_round}")


def test_the_printed_staff_commands_work(served: tuple[subprocess.Popen[str], str]) -> None:
    commands = [line.strip() for line in served[1].splitlines() if re.match(r"  [^\s=]*sekisho --config", line)]
    assert len(commands) == 2
    for command in commands:
        words = command.split()[1:]
        done = subprocess.run([sys.executable, "-m", "sekisho", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, "taro" in done.stdout) == (0, True)


def test_a_second_demo_goes_on_with_the_same_bank_and_the_first_ends_after_the_tour(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    command = [sys.executable, "-m", "sekisho", "demo", "--once", "--folder", str(folder)]
    with alone():
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    with demo(folder) as (process, printed):
        for shown in (done.stdout, printed):
            assert [answer for answer, _ in SHOWN] == re.findall(r"^  (Access-\w+)", shown, re.MULTILINE)
        ends_with_all_its_processes(process, printed, signal.SIGTERM)


def test_a_demo_whose_store_lost_a_file_says_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    with demo(folder) as (process, _):
        (folder / "store.db-wal").unlink()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 5
        assert f"The server has ended (exit code 5): {folder}/server.log says why" in said
    with demo(folder) as (process, printed):
        assert [line for line in printed.splitlines() if "Access-Accept     hanako" in line]
        ends_with_all_its_processes(process, printed, signal.SIGINT)


def test_a_customers_code_is_printed_as_oathtool_prints_it(served: tuple[subprocess.Popen[str], str]) -> None:
    (config,) = set(re.findall(r"--config (\S+)", served[1]))
    command = [sys.executable, "-m", "sekisho", "demo", "code", "john", "--folder", str(Path(config).parent)]
    seed = re.search(r"^  john .*\n +code: oathtool --totp -b (\w+)", served[1], re.MULTILINE)
    assert seed is not None
    early_in_a_step()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == paste(f"oathtool --totp -b {seed[1]}")


def test_a_page_shows_the_code_and_no_other_sites_script_reads_it(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    address = addresses(served[1])[3]
    (seed,) = re.findall(r"^  john .*\n +code: oathtool --totp -b (\w+)", served[1], re.MULTILINE)
    early_in_a_step()
    code = paste(f"oathtool --totp -b {seed}").strip()
    with urllib.request.urlopen(address, timeout=60) as page:  # noqa: S310
        assert f"<th>john<td>VSST00000003<td><code>{code}</code>" in page.read().decode()
    stranger = urllib.request.Request(address, headers={"Host": "evil.example"})  # noqa: S310
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(stranger, timeout=60)  # noqa: S310


def test_a_name_without_token_and_a_folder_without_demo_are_told(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    (config,) = set(re.findall(r"--config (\S+)", served[1]))
    for name, folder, told in (("jiro", Path(config).parent, "taro, hanako"), ("taro", tmp_path, "sekisho demo")):
        said = run(["demo", "code", name, "--folder", str(folder)])
        assert said.code == 2 and told in " ".join(said.err.replace("│", " ").split())


def test_the_ports_can_be_chosen_and_one_that_is_taken_is_named(tmp_path: Path) -> None:
    with alone():
        port, radius_port = six_free_ports(), free_port()
        command = [sys.executable, "-m", "sekisho", "demo", "--once", "--folder", str(tmp_path / "bank")]
        command += ["--port", str(port), "--radius-port", str(radius_port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert addresses(done.stdout) == [f"http://localhost:{port + more}/" for more in (0, 1, 2, 3, 4, 5)]
    assert f"127.0.0.1:{radius_port} " in done.stdout
    for kind, taken in ((socket.SOCK_STREAM, port + 1), (socket.SOCK_DGRAM, radius_port)):
        with socket.socket(socket.AF_INET, kind) as holder:
            holder.bind(("127.0.0.1", taken))
            if kind == socket.SOCK_STREAM:
                holder.listen()
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and f"port {taken} of 127.0.0.1 cannot be used" in " ".join(done.stderr.split())


def six_free_ports() -> int:
    """The first of six ports in a row that nobody has now."""
    for _ in range(50):
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as held:
            for more in range(6):
                probe = held.enter_context(socket.socket())
                probe.bind(("127.0.0.1", port + more))
            return port
    raise AssertionError("no six free ports in a row")


def test_there_is_a_member_of_staff_of_each_role_and_a_link_for_the_first_passkey(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    staff = served[1].partition("Staff, at ")[2]
    roles = re.findall(r"^  (\w+) +\S+ +code of staff-\1$", staff, re.MULTILINE)
    assert roles == ["auditor", "operator", "supervisor", "administrator"]
    (link,) = re.findall(r"http://localhost:[0-9]+/welcome/\S+", staff)
    with urllib.request.urlopen(link, timeout=60) as page:  # noqa: S310
        assert page.status == 200


def refused(folder: Path | str, *words: str) -> str:
    """What a demo says that does not begin."""
    said = run(["demo", *words, "--once", "--folder", str(folder)])
    assert said.code == 2, said
    return " ".join(said.err.split())


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """/etc/sekisho has a sekisho.toml, which a demo would replace."""
    (tmp_path / "sekisho.toml").write_text("the bank's own")
    assert "is no demo's and not empty" in refused(tmp_path)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["the bank's own"]


def test_a_folder_into_which_others_may_put_links_is_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "people.json").write_text("[]")
    (prepared / "sekisho.toml").symlink_to(victim)
    prepared.chmod(0o777)
    assert "everybody may write there" in refused(prepared)
    if os.geteuid() == 0:
        prepared.chmod(0o700)
        os.chown(prepared, 65534, 65534)
        assert "belongs to somebody else" in refused(prepared)
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("name", ['a"\nmode = "code', "a?mode=memory", "a\\b", "a\x1b[31m"])
def test_a_folder_whose_name_would_be_read_as_something_else_is_refused(tmp_path: Path, name: str) -> None:
    assert "choose a folder without quotes" in refused(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sekisho", "demo", "--once", "--folder", str(tmp_path / os.fsdecode(b"a\xff"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "is no text in UTF-8" in " ".join(done.stderr.split()), done
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", '[{"contract_id": "taro"}]', '[{"seed": "1"}]', "[" * 100_000])
def test_a_damaged_list_of_people_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "people.json").write_text(text)
    assert "people.json is damaged" in refused(tmp_path)
