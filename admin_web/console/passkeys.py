"""Passkeys (W3C WebAuthn level 3): what a browser is asked, and whether its answer is right. No store, no session.

A challenge carries the moment it was made and is signed for one purpose, so none has to be kept: the answer brings it
back. That an answer is good once, the store sees to (``use_passkey``). The user is always verified (PIN, finger, face).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from hmac import compare_digest
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, parse_authentication_credential_json, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from otp_core.accounts import NewPasskey, PasskeyAnswer
from otp_core.store.staff import Passkey

CHALLENGE_SECONDS = 300
"""How long an answer to a challenge is waited for."""

LONGEST_ANSWER = 4096
"""Characters of a browser's answer: keys of RSA make the longest."""

_TIME_BYTES, _NONCE_BYTES, _MAC_BYTES = 8, 16, 8
_VERIFIED = UserVerificationRequirement.REQUIRED
_NAME = "Sekisho"


class WrongAnswer(Exception):
    """An answer that is not right, or too late. The text is for log and audit trail, and repeats nothing that came."""


class Passkeys:
    """Asks and checks for one origin. ``fingerprint``: the store's keyed one; ``now``: ms since the epoch."""

    def __init__(self, origin: str, fingerprint: Callable[..., int], now: Callable[[], int]) -> None:
        self._origin, self._fingerprint, self._now = origin, fingerprint, now
        self._rp_id = urlsplit(origin).hostname or ""

    def registration(self, name: str, user: bytes, purpose: bytes, known: Sequence[Passkey]) -> str:
        """What ``navigator.credentials.create`` is asked, as JSON. ``user``: an opaque handle of at most 64 bytes;
        ``known``: passkeys that are not to be registered again."""
        options = generate_registration_options(
            rp_id=self._rp_id,
            rp_name=_NAME,
            user_name=name,
            user_id=user,
            challenge=self._challenge(purpose),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED, user_verification=_VERIFIED
            ),
            exclude_credentials=_descriptors(one.credential_id for one in known),
        )
        return options_to_json(options)

    def registered(self, answer: str, purpose: bytes) -> NewPasskey:
        """The passkey of a browser's answer. Raises WrongAnswer."""
        try:
            challenge = self._challenge_of(json.loads(answer)["response"]["clientDataJSON"])
            self._made_at(challenge, purpose)
            found = verify_registration_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise WrongAnswer(f"no right registration: {type(error).__name__}") from None
        return NewPasskey(found.credential_id, found.credential_public_key, found.sign_count)

    def question(self, credential_ids: Sequence[bytes], purpose: bytes) -> str:
        """What ``navigator.credentials.get`` is asked, as JSON."""
        options = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=self._challenge(purpose),
            allow_credentials=_descriptors(credential_ids),
            user_verification=_VERIFIED,
        )
        return options_to_json(options)

    def answered(self, answer: str, purpose: bytes, known: Sequence[Passkey]) -> PasskeyAnswer:
        """The answer of one of the ``known`` passkeys. Raises WrongAnswer."""
        try:
            credential = parse_authentication_credential_json(answer)
            passkey = next((one for one in known if one.credential_id == credential.raw_id), None)
            if passkey is None:
                raise WrongAnswer("no passkey of theirs")
            challenge = parse_client_data_json(credential.response.client_data_json).challenge
            made_at = self._made_at(challenge, purpose)
            found = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise WrongAnswer(f"no right answer of a passkey: {type(error).__name__}") from None
        return PasskeyAnswer(passkey, found.new_sign_count, made_at)

    def invented(self, name: str) -> bytes:
        """A credential ID for a name that has none, always the same: so a stranger does not learn who is staff."""
        parts = (self._fingerprint(b"no passkey", name.encode(), bytes([part])) for part in range(4))
        return b"".join((part % 2**64).to_bytes(8, "big") for part in parts)

    def _challenge(self, purpose: bytes) -> bytes:
        signed = self._now().to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_NONCE_BYTES)
        return signed + self._mac(signed, purpose)

    def _made_at(self, challenge: bytes, purpose: bytes) -> int:
        """When a challenge of ours was made (ms). Raises WrongAnswer."""
        signed, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
        made_at = int.from_bytes(signed[:_TIME_BYTES], "big")
        if len(challenge) != _TIME_BYTES + _NONCE_BYTES + _MAC_BYTES or not compare_digest(
            mac, self._mac(signed, purpose)
        ):
            raise WrongAnswer("an answer to something else")
        if not 0 <= self._now() - made_at <= CHALLENGE_SECONDS * 1000:
            raise WrongAnswer("an answer that came too late")
        return made_at

    def _mac(self, signed: bytes, purpose: bytes) -> bytes:
        return (self._fingerprint(b"passkey challenge", signed, purpose) % 2**64).to_bytes(_MAC_BYTES, "big")

    @staticmethod
    def _challenge_of(client_data: str) -> bytes:
        return parse_client_data_json(base64url_to_bytes(client_data)).challenge


def _descriptors(credential_ids: Iterable[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=one) for one in credential_ids]
