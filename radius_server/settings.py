"""The section ``[radius]``: names, units, limits, defaults, and which settings are risky. Reads no file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, SecretBytes, ValidationInfo, field_validator

from otp_core.login.policy import password_only
from otp_core.model import Language, Mode, Policy
from otp_core.otp import compatibility_form
from otp_core.settings.first_factors import first_factor_key
from otp_core.settings.renamed import FormerName
from otp_core.settings.repeated import Remark, entries, repeated, tables
from otp_core.settings.section import (
    ExistingPath,
    ReadNextSecretPath,
    ReadSecretPath,
    Section,
    count,
    seconds,
    yes_or_no,
)
from otp_core.settings.sources import SourceMap
from otp_core.settings.toml_lines import Location
from otp_core.settings.values import (
    Address,
    AttributeName,
    AttributeValue,
    ClientName,
    Listen,
    Network,
    Secret,
    pasted,
    read_address,
    read_network,
)
from otp_core.settings.without_token import Answer, unchecked_logins, without_token_in, without_token_key
from radius_server.realms import KEEP, RealmSettings, problems_of, same_realm

Prompt = Literal["no-echo", "echo", "none"]
Charset = Literal["utf-8", "latin-1", "cp1252", "cp932", "euc-jp"]
Realm = Literal["keep", "strip", "reject"]
ReturnUserName = Literal["when-different", "always", "never"]
_LONGEST_VALUE = 253
"""Octets in an attribute (RFC 2865 section 5)."""
_WIDE_PREFIX = {4: 8, 6: 32}
"""By IP version: a client's network with this prefix length or a shorter one is a risk."""


def _reply_text(description: str) -> Any:
    return Field(default=None, min_length=1, max_length=1000, description=description)


class ReplyMessages(Section):
    """Reply-Messages that replace the standard texts in every language."""

    challenge: str | None = _reply_text("Text that asks for the code.")
    challenge_again: str | None = _reply_text("Text that asks again after a wrong code.")
    reject: str | None = _reply_text("Text of an Access-Reject.")
    accept: str | None = _reply_text("Text of an Access-Accept (none by default).")
    change_token: str | None = _reply_text("Text of an Access-Accept by a token that is to be left (leave_by).")


class ClientSettings(Section):
    """A gateway that may send requests: identified by its source address, trusted by its shared secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["name", "network"],
            "oneOf": [{"required": ["secret"]}, {"required": ["secret_file"]}],
        }
    )

    name: ClientName = Field(description="Its name in logs, metrics and audit rows.")
    network: Network = Field(description="Its source address or network; of several that fit, the longest prefix wins.")
    nas_identifier: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="The NAS-Identifier of its requests, for several clients on one network (left out: whatever names "
        "none of the others).",
    )
    secret: Secret = Field(repr=False, description="The shared secret, 16 octets or more. Either this or secret_file.")
    secret_file: ReadSecretPath | None = Field(
        default=None,
        description="The file that holds the shared secret (one line end after it is dropped). A relative path is "
        "looked for in the secrets folder if there is one, otherwise beside this file.",
    )
    next_secret: Secret | None = Field(
        default=None,
        repr=False,
        description="While the shared secret is being changed: the new one, which is taken as well. Either this or "
        "next_secret_file.",
    )
    next_secret_file: ReadNextSecretPath | None = Field(
        default=None,
        description="The file that holds the new secret. `sekisho doctor` says when the gateway uses it; then name "
        "this file in secret_file, and remove this key.",
    )
    mode: Mode = Field(
        default=Mode.CHALLENGE,
        description="What its first User-Password is: the password (challenge), password and code (append), either of "
        "these (auto), the code alone (code), or the password alone, no code ever (password).",
    )
    require_message_authenticator: bool = yes_or_no(
        True, "Drop requests without Message-Authenticator. False puts this client at risk (CVE-2024-3596)."
    )
    limit_proxy_state: bool = yes_or_no(
        True, "Where Message-Authenticator may be missing: still drop requests that carry Proxy-State without it."
    )
    without_token: Answer = without_token_key("password only")
    without_password: Literal["code", "reject"] = Field(
        default="reject",
        description="A customer whose password is not kept here, where the mode asks for one: code alone, or reject.",
    )
    first_factor: str = first_factor_key("its customers, in every mode that asks for one")
    relay: bool = yes_or_no(
        False, "Pass on the attributes that its first factor's upstream sends (relay_attributes there)."
    )
    ms_chap: bool = yes_or_no(
        False,
        "Pass MS-CHAPv2 on to its first factor, if that is of type radius, in modes challenge, auto and password. It "
        "is weak: PAP is better wherever the client has it.",
    )
    shadow: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Shadow mode, before a move: the name of one of [[upstreams]], the old server, which answers this "
        "client's logins as before. What would be answered here is only compared (`sekisho shadow report`).",
    )
    explain_password_problems: bool = yes_or_no(
        False,
        "Say in the Reply-Message of an Access-Reject what is wrong with the account there: password expired or to be "
        "changed, account disabled, expired or locked. It tells a guesser, too.",
    )
    suspended: Answer | None = Field(default=None, description="Suspended, if it is to differ from without_token.")
    lost: Answer | None = Field(default=None, description="Token reported lost (left out: reject).")
    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="What stands between password and code in modes append and auto (left out: nothing).",
    )
    code_position: Literal["after", "before"] = Field(
        default="after",
        description="Whether the code stands after or before the password, in modes append and auto.",
    )
    charset: Charset = Field(default="utf-8", description="The encoding of its user names and passwords.")
    user_name_charset: Charset | None = Field(
        default=None, description="The encoding of its user names, if it is another than that of its passwords."
    )
    realm: Realm = Field(
        default="keep",
        description="A realm in the user name (BANK\\id, id@realm): part of the contract ID, taken off, or rejected.",
    )
    realms: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="The realms of its customers, by their names in [[radius.realms]]; a name with another one is "
        "rejected (left out: a realm chooses nothing).",
    )
    fold_case: bool = yes_or_no(
        False,
        "Find a contract ID in any case, if it is stored in lower case, in upper case or capitalised; any other only "
        "as it is.",
    )
    cut_at_nul: bool = yes_or_no(False, "Cut user name and password off at the first NUL, with whatever is behind it.")
    language: Language = Field(default=Language.JA, description="The language of its Reply-Messages.")
    repeated_login_seconds: Annotated[int, FormerName("join_seconds")] = count(
        0, 0, 60, "Seconds in which a login that is sent again gets the first verdict again (0: never; weakens 'once')."
    )
    reject_delay: float = seconds(
        1.0, 0, 10, "Seconds from a request until its Access-Reject is sent (left out: as in [radius])."
    )
    return_user_name: ReturnUserName = Field(
        default="when-different",
        description="Whether an Access-Accept names the customer as they are stored (User-Name, RFC 2865 §5.1): where "
        "the request named them differently, always, or never.",
    )
    reply_max: int = count(1024, 256, 4096, "Octets of the longest reply it can read (pam_radius_auth: 1024).")
    prompt: Prompt = Field(
        default="no-echo", description="The Prompt attribute of a challenge (left out: as in [radius])."
    )
    reply_messages: ReplyMessages = Field(
        default_factory=ReplyMessages, description="Its own texts (left out: those of [radius.reply_messages])."
    )
    reply_attributes: dict[AttributeName, AttributeValue] = Field(
        default_factory=dict,
        repr=False,
        description="Attributes of its Access-Accepts by their dictionary names: text, a whole number, or a list.",
    )

    @field_validator("next_secret")
    @classmethod
    def _is_another_secret(cls, following: SecretBytes | None, info: ValidationInfo) -> SecretBytes | None:
        if following is not None and following == info.data.get("secret"):
            raise ValueError("is the secret that is in use already: write a new one, or remove this key")
        return following

    @field_validator("separator")
    @classmethod
    def _tells_code_from_password(cls, separator: str | None) -> str | None:
        return None if separator is None else _checked_separator(separator)

    @field_validator("nas_identifier")
    @classmethod
    def _fits_into_an_attribute(cls, identifier: str | None) -> str | None:
        if identifier is not None and (not identifier.isprintable() or len(identifier.encode()) > _LONGEST_VALUE):
            raise ValueError(f"needs printable text of at most {_LONGEST_VALUE} octets")
        return identifier

    @property
    def policy(self) -> Policy:
        """What its customers are asked for."""
        return Policy(
            mode=self.mode,
            password_only=password_only(self.without_token, self.suspended, self.lost),
            language=self.language,
            repeated_login_seconds=self.repeated_login_seconds,
            code_is_enough=self.without_password == "code",
            first_factor=self.first_factor,
            separator=self.separator or "",
            code_first=self.code_position == "before",
            fold_case=self.fold_case,
        )

    def trying(
        self,
        mode: Mode | None = None,
        without_token: Answer | None = None,
        require_message_authenticator: bool | None = None,
        separator: str | None = None,
    ) -> Self:
        """This client with other values, as if its table had them; None: the present one. ``separator``: empty for
        none. Raises ValueError."""
        tried: dict[str, object] = {}
        if mode is not None:
            tried["mode"] = mode
            if "without_token" not in self.model_fields_set:
                tried["without_token"] = without_token_in(mode)
        if without_token is not None:
            tried["without_token"] = without_token
        if require_message_authenticator is not None:
            tried["require_message_authenticator"] = require_message_authenticator
        if separator is not None:
            tried["separator"] = _checked_separator(separator) if separator else None
        return self.model_copy(update=tried)


_LONGEST_SEPARATOR = 3


def _checked_separator(separator: str) -> str:
    is_long = len(separator) > _LONGEST_SEPARATOR
    if is_long or not separator.isprintable() or any(map(str.isdigit, separator)):
        raise ValueError('needs 1 to 3 printable characters, none of them a digit: ","')
    return separator


class RadiusSettings(Section):
    """The RADIUS door: where it listens, its bounds, its clients."""

    listen: tuple[Listen, ...] = Field(
        default=(Address("0.0.0.0", 1812), Address("::", 1812)),  # noqa: S104  clients are told apart by address
        description="UDP addresses and ports; IPv6 in brackets. Port 0: any free one.",
        json_schema_extra={"default": ["0.0.0.0:1812", "[::]:1812"]},
    )
    workers: int = count(
        1,
        0,
        256,
        "Worker processes (0: one per core). With SQLite two handle up to a third more logins than one, at more CPU "
        "per login.",
    )
    dictionary: tuple[ExistingPath, ...] = Field(
        default=(), description="Further dictionary files for reply_attributes. Relative paths start beside this file."
    )
    duplicate_seconds: int = count(30, 1, 300, "Seconds for which a reply is kept and sent again (RFC 5080 §2.2.2).")
    duplicate_entries: int = count(100_000, 1, 10_000_000, "Replies kept for duplicates at most.")
    max_in_flight: int = count(4096, 1, 1_000_000, "Requests in flight at once; over that, first packets are dropped.")
    max_open_challenges: int = count(
        100_000, 1, 10_000_000, "Challenges open at once; over that, no login that may need one is begun."
    )
    request_seconds: float = seconds(5.0, 0.1, 60, "Seconds for a verdict; after that, no answer.")
    drain_seconds: float = seconds(5.0, 0, 60, "Seconds to wait for requests in flight when the server stops.")
    reject_delay: float = seconds(1.0, 0, 10, "Seconds from a request until its Access-Reject is sent.")
    status_rate: int = count(20, 0, 10_000, "Status-Server answers per second and client (0: none).")
    prompt: Prompt = Field(default="no-echo", description="The Prompt attribute of a challenge, for every client.")
    reply_messages: ReplyMessages = Field(
        default_factory=ReplyMessages, description="Texts for every client that has none of its own."
    )
    realms: tuple[RealmSettings, ...] = Field(
        default=(), max_length=64, description="Realms in user names, for clients that name them."
    )
    clients: tuple[ClientSettings, ...] = Field(default=(), description="The gateways that may send requests.")

    @field_validator("clients")
    @classmethod
    def _inherit(cls, clients: tuple[ClientSettings, ...], info: ValidationInfo) -> tuple[ClientSettings, ...]:
        """Give each client the section's value of every setting that it leaves out and the section has."""
        return tuple(_with_inherited(client, info.data) for client in clients)


def _with_inherited(client: ClientSettings, radius: dict[str, Any]) -> ClientSettings:
    inherited: dict[str, Any] = {
        name: radius[name]
        for name in ("reject_delay", "prompt")
        if name in radius and name not in client.model_fields_set
    }
    if "reply_messages" in radius:
        texts = radius["reply_messages"].model_dump(exclude_none=True)
        inherited["reply_messages"] = ReplyMessages(**texts | client.reply_messages.model_dump(exclude_none=True))
    return client.model_copy(update=inherited)


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Client names, networks (with one nas_identifier) and listen addresses that an earlier entry has already.

    ``values``: the file's values, not validated yet. ``sources``: where each stands. Entries that cannot be read are
    skipped, because validation reports them.
    """
    radius = values.get("radius")
    if not isinstance(radius, dict):
        return
    clients = tables(radius.get("clients"), ("radius", "clients"))
    listen = entries(radius.get("listen"), ("radius", "listen"))
    yield from repeated([((*location, "name"), client.get("name")) for location, client in clients], str, sources)
    realms = tables(radius.get("realms"), ("radius", "realms"))
    named = [((*location, "name"), realm.get("name")) for location, realm in realms]
    yield from repeated(named, lambda name: same_realm(str(name)), sources)
    by_identifier: dict[Any, list[tuple[Location, Any]]] = {}
    for location, client in clients:
        at = ((*location, "network"), client.get("network"))
        by_identifier.setdefault(_text_of(client.get("nas_identifier")), []).append(at)
    for identifier, networks in by_identifier.items():
        said = "" if identifier is None else f" with nas_identifier {json.dumps(identifier, ensure_ascii=False)}"
        for location, message in repeated(networks, read_network, sources):
            yield location, message.replace(" is given twice", f"{said} is given twice")
    yield from repeated([entry for entry in listen if not str(entry[1]).endswith(":0")], read_address, sources)


def _text_of(identifier: object) -> str | None:
    return identifier if isinstance(identifier, str) else None


def problems(radius: RadiusSettings) -> Iterator[Remark]:
    """Addresses to listen at that one machine cannot have together, and keys of a client that do not."""
    known = frozenset(same_realm(one.name) for one in radius.realms)
    for index, client in enumerate(radius.clients):
        yield from problems_of(index, "realms", client.realms, known)
        if client.realms and client.realm == "reject":
            yield (
                ("radius", "clients", index, "realm"),
                f'"reject" refuses every name with a realm, also one of realms: write "{KEEP}" or "strip"',
            )
        if client.ms_chap and client.mode in (Mode.APPEND, Mode.CODE):
            yield (
                ("radius", "clients", index, "mode"),
                f"MS-CHAPv2 hides what was typed, so no code can be taken from it in mode {client.mode}: write "
                'mode = "challenge", which asks for the code afterwards',
            )
    for (_, first), (index, second) in combinations(enumerate(radius.listen), 2):
        if first != second and first.overlaps(second, dual_stack=False):
            yield ("radius", "listen", index), f"{second} and {first} overlap: leave one of the two out"


def risks(radius: RadiusSettings) -> Iterator[Remark]:
    """Settings that are valid but weaken the door, each with its place and what to do."""
    heard = {6 if ":" in address.host else 4 for address in radius.listen}
    yield from _realm_risks(radius)
    for index, client in enumerate(radius.clients):
        if heard and client.network.version not in heard:
            missing = "0.0.0.0:1812" if client.network.version == 4 else "[::]:1812"
            yield (
                ("radius", "clients", index, "network"),
                f"{client.name} is not heard: no address of radius.listen takes IPv{client.network.version} "
                f'([::] takes IPv6 only); add "{missing}" there',
            )
        for key, message in _client_risks(client):
            yield ("radius", "clients", index, key), message
        yield from unchecked_logins(
            client.name,
            client.mode,
            {"without_token": client.without_token, "suspended": client.suspended, "lost": client.lost},
            ("radius", "clients", index),
            "does that gateway check the password itself, before it asks?",
        )


def _realm_risks(radius: RadiusSettings) -> Iterator[Remark]:
    by_name = {same_realm(one.name): one for one in radius.realms}
    in_use = {same_realm(name) for client in radius.clients for name in client.realms}
    for index, realm in enumerate(radius.realms):
        if same_realm(realm.name) not in in_use:
            yield ("radius", "realms", index, "name"), f"nobody serves {realm.name}: no client names it in its realms"
    for index, client in enumerate(radius.clients):
        factors = {by_name[same_realm(name)].first_factor or client.first_factor for name in client.realms}
        if client.realm == "strip" and len(factors) > 1:
            yield (
                ("radius", "clients", index, "realm"),
                f"{client.name} takes the realm off, and its realms have several first factors: a customer of one and "
                f'one of another with the same name are ONE customer here; write "{KEEP}" unless names differ',
            )


def _can_send(separator: str, charset: str) -> bool:
    """Whether the separator, or what counts as the same one, exists in the charset."""
    for form in (separator, compatibility_form(separator) or separator):
        with suppress(UnicodeEncodeError):
            return bool(form.encode(charset))
    return False


def _client_risks(client: ClientSettings) -> Iterator[tuple[str, str]]:
    if not client.require_message_authenticator:
        yield (
            "require_message_authenticator",
            f"{client.name} is at risk: replies to it can be forged (CVE-2024-3596); "
            "turn Message-Authenticator on there and write true",
        )
    if not client.limit_proxy_state:
        yield (
            "limit_proxy_state",
            f"{client.name} is at risk: Proxy-State without Message-Authenticator is how replies are forged "
            "(CVE-2024-3596); write true",
        )
    if client.mode not in (Mode.APPEND, Mode.AUTO):
        for key in ("separator", "code_position"):
            if key in client.model_fields_set:
                yield (
                    key,
                    f"changes nothing in mode {client.mode}: only append and auto split a text",
                )
    if client.separator and not _can_send(client.separator, client.charset):
        yield "separator", f"is nothing that {client.name} can send in {client.charset}, so no code is ever found"
    for key, secret in (("secret", client.secret), ("next_secret", client.next_secret)):
        if secret is not None and (wrong := pasted(secret)):
            yield key, f"of {client.name} {wrong}; the gateway's is another one otherwise"
    if client.ms_chap:
        yield (
            "ms_chap",
            f"MS-CHAPv2 of {client.name} is WEAK outside TLS (RadSec): whoever listens on the way can compute the "
            "password's hash from one login, however long it is; use PAP, or EAP-TTLS in front, and remove this key",
        )
    if client.repeated_login_seconds:
        yield (
            "repeated_login_seconds",
            f"a code can be used more than once through {client.name} for {client.repeated_login_seconds} s; write 0 "
            "unless that gateway sends one login twice",
        )
    if client.network.prefixlen <= _WIDE_PREFIX[client.network.version]:
        yield "network", f"{client.network} is very wide: every address in it may guess at the secret of {client.name}"
