"""What a host's login costs beyond the password: pam_sekisho beside pam_radius_auth and pam_google_authenticator.

`python -m benchmarks.pam`. One login after the other, each of another user with a code that was never used, through
libpam with service files of its own; the three take turns. pam_sekisho and pam_radius_auth ask the same running server,
which flushes every verdict to the disk; pam_google_authenticator keeps a file for each user and asks nobody.
"""

from __future__ import annotations

import argparse
import getpass
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, tokens
from benchmarks.meter import spread
from benchmarks.processes import Process, Unusable, workplace
from benchmarks.sekisho import Product, Serving

OURS = "pam_sekisho"
_SECRET = "only-for-a-benchmark-1"
_SUCCESS = "0"


@dataclass(frozen=True, slots=True)
class Run:
    """Medians and means of one contender's logins in a round, in microseconds."""

    wall_us: float
    host_cpu_us: float
    service_cpu_us: float

    @property
    def cpu_us(self) -> float:
        return self.host_cpu_us + self.service_cpu_us


@dataclass(frozen=True, slots=True)
class Site:
    """The machine under test: service files, the driver, the server that two of the three ask."""

    services: Path
    driver: Path
    server: Process


def main(words: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with workplace(options.out) as folder:
            results = _measure(folder, options.sekisho, options.rounds, options.logins)
    except Unusable as problem:
        print(f"not measured: {problem}", file=sys.stderr)
        return 2
    (options.out / "pam.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "pam.md").write_text(_markdown(results))
    print(_markdown(results))
    return 0 if results["no_slower"] else 1


def _measure(folder: Path, program: Path | None, rounds: int, logins: int) -> dict[str, Any]:
    measured_on = machine.facts(folder)
    names = (OURS, "pam_radius_auth", "pam_google_authenticator")
    runs: dict[str, list[Run]] = {name: [] for name in names}
    count = rounds * logins * len(names) + len(names)
    numbers = iter(range(count))
    with _site(folder, program, count) as site:
        for name in names:
            _check(site, name, next(numbers))
        for _ in range(rounds):
            for name in names:
                runs[name].append(_run(site, name, [next(numbers) for _ in range(logins)]))
    contenders = {
        name: {
            "wall_us": spread([run.wall_us for run in of]),
            "cpu_us": spread([run.cpu_us for run in of]),
            "host_cpu_us": spread([run.host_cpu_us for run in of]),
            "service_cpu_us": spread([run.service_cpu_us for run in of]),
        }
        for name, of in runs.items()
    }
    medians = {name: statistics.median(run.wall_us for run in of) for name, of in runs.items()}
    return {
        "machine": measured_on,
        "rounds": rounds,
        "logins": logins,
        "contenders": contenders,
        "no_slower": medians[OURS] <= min(medians.values()),
    }


@contextmanager
def _site(folder: Path, program: Path | None, count: int) -> Iterator[Site]:
    socket = Path("/tmp") / f"sekisho-bench-{folder.name}.sock"  # a Unix socket's path has 107 octets at most
    more = f"""
[pam]
socket = "{socket}"
[[pam.profiles]]
name = "default"
mode = "code"
reject_delay = 0
[[radius.clients]]
name = "host"
network = "127.0.0.1/32"
secret = "{_SECRET}"
mode = "code"
reject_delay = 0
require_message_authenticator = false
"""
    product = Product(folder, program)
    with product.serve(product.store(count), folder / "served", more) as serving:
        services = _services(folder, serving, socket, count)
        driver = folder / "pamlogins"
        _compile(["cc", "-O2", "-o", str(driver), str(Path(__file__).with_name("pamlogins.c")), "-lpam"])
        yield Site(services, driver, serving.process)


def _services(folder: Path, serving: Serving, socket: Path, count: int) -> Path:
    _compile(["make", "-s", "-C", str(Path(__file__).parents[1] / "pam_module"), f"BUILD={folder}"])
    radius = folder / "radius"
    radius.write_text(f"127.0.0.1:{serving.doors['code'].port} {_SECRET} 5\n")
    radius.chmod(0o600)
    secrets = folder / "secrets"
    secrets.mkdir()
    for number in range(count):
        file = secrets / tokens.contract_id(number)
        file.write_text(f'{tokens.base32_seed(number)}\n" DISALLOW_REUSE\n" TOTP_AUTH\n')
        file.chmod(0o400)
    lines = {
        OURS: f"{folder}/pam_sekisho.so socket={socket} server_uid={_uid()}",
        "pam_radius_auth": f"pam_radius_auth.so conf={radius}",
        "pam_google_authenticator": f"pam_google_authenticator.so secret={secrets}/${{USER}} user={getpass.getuser()}",
    }
    services = folder / "services"
    services.mkdir()
    for name, line in lines.items():
        (services / name).write_text(f"auth required {line}\n")
    return services


def _uid() -> int:
    return int(subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout)


def _compile(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unusable(f"{command[0]}: {done.stderr.strip()[-1000:]} (Debian: gcc make libpam0g-dev)")


def _check(site: Site, name: str, number: int) -> None:
    """A right code is accepted once, a wrong one never: otherwise there is nothing to compare."""
    step, _ = tokens.step_with_room(5)
    right = tokens.code(tokens.seed(number), step).decode()
    wrong = "000000" if right != "000000" else "000001"
    user = tokens.contract_id(number)
    found = [line[0] for line in _logins(site, name, [(user, wrong), (user, right), (user, right)])[0]]
    accepted = [result == _SUCCESS for result in found]
    if accepted != [False, True, False]:
        raise Unusable(f"{name}: a wrong code, a right one and the same again gave {found}")


def _run(site: Site, name: str, numbers: Sequence[int]) -> Run:
    step, at = tokens.step_with_room(len(numbers) * 0.03 + 1)
    time.sleep(max(0.0, at - time.time()) + 0.3)
    user_password = [
        (tokens.contract_id(number), tokens.code(tokens.seed(number), step).decode()) for number in numbers
    ]
    before = site.server.cpu_seconds()
    lines, host_cpu = _logins(site, name, user_password)
    time.sleep(0.3)  # for what the server still does
    service_cpu = site.server.cpu_seconds() - before
    refused = sum(result != _SUCCESS for result, _ in lines)
    if refused:
        raise Unusable(f"{name} refused {refused} of {len(lines)} right codes")
    wall = statistics.median(nanoseconds for _, nanoseconds in lines) / 1000
    return Run(wall, host_cpu / len(lines) / 1000, service_cpu * 1e6 / len(lines))


def _logins(site: Site, name: str, user_password: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, int]], int]:
    """(result and nanoseconds of each, nanoseconds of the host's processor time)."""
    lines = "".join(f"{user} {code}\n" for user, code in user_password)
    done = subprocess.run(
        [str(site.driver), str(site.services), name], input=lines, capture_output=True, text=True, check=False
    )
    said = [line.split() for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(said) != len(user_password) + 1:
        raise Unusable(f"{name}: {done.stderr.strip() or done.returncode}")
    return [(result, int(nanoseconds)) for result, nanoseconds in said[:-1]], int(said[-1][1])


def _markdown(results: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {_figure(of['wall_us'])} | {_figure(of['cpu_us'])} | {_figure(of['host_cpu_us'])} | "
        f"{_figure(of['service_cpu_us'])} |"
        for name, of in results["contenders"].items()
    ]
    return "\n".join(
        [
            "# A login at a host, beyond the password",
            "",
            f"Medians of {results['rounds']} rounds of {results['logins']} logins, extremes in brackets; microseconds.",
            "",
            "| module | a login takes | processor time | of it, the host's | of it, the server's |",
            "|---|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


def _figure(found: dict[str, float]) -> str:
    return f"{found['median']:.0f} [{found['least']:.0f}–{found['most']:.0f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pam", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--logins", type=int, default=200, help="of each module in each round")
    parser.add_argument("--sekisho", type=Path, metavar="FILE", help="the product's command (default: this Python's)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("out"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
