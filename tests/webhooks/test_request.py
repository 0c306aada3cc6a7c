"""What is sent: the specification's own vector, the fields of a row, and keys that are refused without being shown."""

from __future__ import annotations

import base64
import json

import pytest

from otp_core.audit import id_at
from otp_core.store.queries import AuditLine
from otp_core.webhooks import request
from otp_core.webhooks.request import MOST_OF_A_VALUE, body_of, headers_of, message_id, read_secrets

ROW = AuditLine(id_at(1_806_485_400_123), "login.rejected", "vpn", "1234567", None, "10.1.2.3", "wrong-code", "web1")
KEY = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_specifications_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example that the libraries of Standard Webhooks are tested with."""
    monkeypatch.setattr(request, "message_id", lambda _: "msg_p5jXN8AQM9LWM0D4loKWxJek")
    headers = headers_of(ROW, b'{"test": 2432232314}', read_secrets(KEY), 1_614_265_330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek" and headers["webhook-timestamp"] == "1614265330"


def test_the_body_has_the_row_and_its_number_as_text() -> None:
    assert json.loads(body_of(ROW)) == {
        "type": "login.rejected",
        "timestamp": "2027-03-31T09:30:00.123000Z",
        "data": {
            "id": str(ROW.id),
            "actor": "vpn",
            "customer": "1234567",
            "token": None,
            "source": "10.1.2.3",
            "reason": "wrong-code",
            "node": "web1",
        },
    }
    assert message_id(ROW) == f"audit_{ROW.id}"


@pytest.mark.parametrize("reason", ["\0\x1b[31m", "\ud800", "佐藤" * 3000, '"}, "type": "x'])
def test_whatever_a_field_holds_the_body_is_json_and_bounded(reason: str) -> None:
    body = body_of(ROW._replace(reason=reason, id=-1))
    found = json.loads(body)
    assert found["timestamp"] is None and found["type"] == "login.rejected"
    assert len(found["data"]["reason"]) <= MOST_OF_A_VALUE and len(body) < 20_000


def test_two_keys_sign_both() -> None:
    other = b"whsec_" + base64.b64encode(b"o" * 24)
    both = headers_of(ROW, b"{}", read_secrets(KEY + b"\n" + other + b"\n"), 1)["webhook-signature"].split()
    assert both == [headers_of(ROW, b"{}", read_secrets(one), 1)["webhook-signature"] for one in (KEY, other)]


@pytest.mark.parametrize(
    "text",
    [b"", b"secretsecretsecretsecret", b"whsec_c2hvcnQ=", b"whsec_!" + b"a" * 40, b"\xff", b"\n".join([KEY] * 3)],
)
def test_a_file_without_a_usable_key_is_refused_and_not_shown(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"has to hold one key|make one with") as refusal:
        read_secrets(text)
    assert "secretsecret" not in str(refusal.value) and "c2hvcnQ" not in str(refusal.value)
