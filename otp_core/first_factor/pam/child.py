"""A process that asks the PAM stack about one login at a time, run as a program (``python -I child.py``).

It needs nothing but Python's own library and libpam. Questions and answers are lines of JSON on the pipes that it was
started with; what modules write to standard output goes nowhere. It ends with whoever has started it. It never decides:
it says at which call PAM returned which code (pam_authenticate(3), pam_acct_mgmt(3)).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import signal
import sys
from typing import Any

PROMPT_ECHO_OFF, PROMPT_ECHO_ON, ERROR_MSG, TEXT_INFO = 1, 2, 3, 4
SUCCESS, BUF_ERR, CONV_ERR = 0, 5, 19
_RHOST, _FAIL_DELAY = 4, 10
_SILENT, _DISALLOW_NULL_AUTHTOK = 0x8000, 0x0001
_MOST_MESSAGES = 32
"""PAM_MAX_NUM_MSG."""
_PR_SET_PDEATHSIG = 1


class _Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class _Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)
_Delay = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = [("converse", _Converse), ("data", ctypes.c_void_p)]


class Pam:
    """libpam and libc. Raises OSError if they are not there."""

    def __init__(self) -> None:
        ctypes.CDLL("libpam.so.0", mode=ctypes.RTLD_GLOBAL)
        # By the process's own look-up, as in any program that is linked with it: so pam_wrapper finds its place.
        self.pam = self.libc = ctypes.CDLL(None)
        self.libc.calloc.restype = self.libc.strdup.restype = ctypes.c_void_p
        self.libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self.libc.free.argtypes = [ctypes.c_void_p]
        self.pam.pam_strerror.restype = ctypes.c_char_p
        for name in ("pam_authenticate", "pam_acct_mgmt", "pam_end"):
            getattr(self.pam, name).argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.pam.pam_set_item.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        self.pam.pam_strerror.argtypes = [ctypes.c_void_p, ctypes.c_int]

    def ask(self, question: dict[str, str]) -> dict[str, Any]:
        """One conversation. ``stage``: the call that did not succeed, or ``acct``; ``code``: what it returned;
        ``asked``: how many questions without echo there were."""
        talk = _Talk(self, question["user"].encode(), question["password"].encode())
        conversation = _Conversation(_Converse(talk.converse), None)
        handle = ctypes.c_void_p()
        service, user = question["service"].encode(), question["user"].encode()
        code = self.pam.pam_start(service, user, ctypes.byref(conversation), ctypes.byref(handle))
        if code != SUCCESS:
            return {"stage": "start", "code": code, "text": "", "asked": 0}
        no_delay = _Delay(lambda *_: None)  # wrong passwords are slowed down elsewhere
        self.pam.pam_set_item(handle, _FAIL_DELAY, ctypes.cast(no_delay, ctypes.c_void_p))
        if question["rhost"]:
            self.pam.pam_set_item(
                handle, _RHOST, ctypes.cast(ctypes.c_char_p(question["rhost"].encode()), ctypes.c_void_p)
            )
        stage, code = "auth", self.pam.pam_authenticate(handle, _SILENT | _DISALLOW_NULL_AUTHTOK)
        if code == SUCCESS:
            stage, code = "acct", self.pam.pam_acct_mgmt(handle, _SILENT | _DISALLOW_NULL_AUTHTOK)
        text = self.pam.pam_strerror(handle, code) or b""
        self.pam.pam_end(handle, code)
        return {"stage": stage, "code": code, "text": text.decode(errors="replace")[:200], "asked": talk.asked}


class _Talk:
    """Answers the modules' questions: the first one without echo with the password, one with echo with the name. A
    second one without echo is another question, which nobody here can answer."""

    def __init__(self, pam: Pam, user: bytes, password: bytes) -> None:
        self._pam, self._user, self._password = pam, user, password
        self.asked = 0

    def converse(self, number: int, messages: Any, responses: Any, _: Any) -> int:
        """See pam_conv(3)."""
        if not 1 <= number <= _MOST_MESSAGES:
            return CONV_ERR
        answers = [self._answer(messages[at].contents.style) for at in range(number)]
        if any(answer is None for answer in answers):
            return CONV_ERR
        array = self._pam.libc.calloc(number, ctypes.sizeof(_Response))
        if not array:
            return BUF_ERR
        made = ctypes.cast(array, ctypes.POINTER(_Response))
        for at, answer in enumerate(answers):
            if answer:
                made[at].text = self._pam.libc.strdup(answer)
        responses[0] = made
        return SUCCESS

    def _answer(self, style: int) -> bytes | None:
        if style == PROMPT_ECHO_OFF:
            self.asked += 1
            return self._password if self.asked == 1 else None
        return {PROMPT_ECHO_ON: self._user, ERROR_MSG: b"", TEXT_INFO: b""}.get(style)


def main(parent: int) -> None:
    """Answer until the other end closes. ``parent``: the process that has started this one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return  # it has ended before it could be watched
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pam = Pam()
    for line in questions:
        answers.write(json.dumps(pam.ask(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
