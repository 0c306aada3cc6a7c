"""pyrad's own blocking `Server` as a process: static passwords in memory, Message-Authenticator demanded, no codes.

python -m benchmarks.pyrad_server PORT CUSTOMERS          (the secret on stdin)
"""

import io
import logging
import socket
import sys
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AccessReject
from pyrad.server import RemoteHost, Server

from benchmarks import tokens

_USER_NAME, _USER_PASSWORD = 1, 2


class StaticPasswords(Server):  # type: ignore[misc]
    """Accepts a user whose password is the one in the table."""

    passwords: dict[bytes, str]

    def HandleAuthPacket(self, pkt: Any) -> None:  # noqa: N802
        reply = self.CreateReplyPacket(pkt)
        if not self._right(pkt):
            reply.code = AccessReject
        self.SendReplyPacket(pkt.fd, reply)

    def _right(self, pkt: Any) -> bool:
        names, hidden = pkt.get(_USER_NAME), pkt.get(_USER_PASSWORD)
        if not names or not hidden:
            return False
        given: str = pkt.PwDecrypt(hidden[0])
        return self.passwords.get(names[0]) == given


def main() -> None:
    port, customers = int(sys.argv[1]), int(sys.argv[2])
    logging.basicConfig(level=logging.ERROR)
    secret = sys.stdin.readline().strip().encode()
    server = StaticPasswords(
        addresses=["127.0.0.1"],
        authport=port,
        acct_enabled=False,
        hosts={"127.0.0.2": RemoteHost("127.0.0.2", secret, "bench")},
        dict=Dictionary(io.StringIO("")),
        enforce_ma=True,
    )
    for sock in server.authfds:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)  # as every contender: a burst must fit
    server.passwords = {tokens.contract_id(n).encode(): tokens.password(n) for n in range(customers)}
    print("ready", file=sys.stderr, flush=True)
    server.Run()


if __name__ == "__main__":
    main()
