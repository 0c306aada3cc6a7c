"""The texts of the notices, and the mail made from them. Values in, a message out; no network, no store, no clock.

A mail never holds a code, password, permit or seed, and no link, so that customers learn that the bank's mail has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from otp_core.audit import Event, ms_of
from otp_core.dates import day_text, moment_text
from otp_core.model import Language
from otp_core.reference import reference_of
from otp_core.store.outbox import Waiting

_TEXTS: dict[tuple[Event, Language], tuple[str, str]] = {
    (Event.ENROLLED, Language.JA): (
        "ワンタイムパスワード利用登録のお知らせ",
        "ワンタイムパスワードの利用登録を受け付けました。次回のログインから必要となります。",
    ),
    (Event.ENROLLED, Language.EN): (
        "One-time passwords: enrolled",
        "One-time passwords were enrolled. They are needed from the next login on.",
    ),
    (Event.SUSPENDED, Language.JA): (
        "ワンタイムパスワード利用停止のお知らせ",
        "ワンタイムパスワードの利用を停止しました。次回のログインから必要ありません。",
    ),
    (Event.SUSPENDED, Language.EN): (
        "One-time passwords: suspended",
        "The use of one-time passwords was suspended. They are not needed from the next login on.",
    ),
    (Event.RESUMED, Language.JA): (
        "ワンタイムパスワード利用再開のお知らせ",
        "ワンタイムパスワードの利用を再開しました。次回のログインから必要となります。",
    ),
    (Event.RESUMED, Language.EN): (
        "One-time passwords: resumed",
        "The use of one-time passwords was resumed. They are needed from the next login on.",
    ),
    (Event.DEVICE_CHANGED, Language.JA): (
        "端末変更（トークン変更）のお知らせ",
        "ソフトウェアトークンを変更しました。これまでのトークンは失効しました。",
    ),
    (Event.DEVICE_CHANGED, Language.EN): (
        "Device changed",
        "Your software token was changed. The one before it is not accepted any more.",
    ),
    (Event.TOKEN_ADDED, Language.JA): (
        "トークン追加のお知らせ",
        "トークンを追加しました。これまでのトークンも引き続きご利用いただけます。",
    ),
    (Event.TOKEN_ADDED, Language.EN): (
        "Token added",
        "A token was added. Those that you had go on working.",
    ),
    (Event.TOKEN_REMOVED, Language.JA): (
        "トークン削除のお知らせ",
        "トークンを削除しました。このトークンは失効しました。ほかのトークンは引き続きご利用いただけます。",
    ),
    (Event.TOKEN_REMOVED, Language.EN): (
        "Token removed",
        "A token was removed. It is not accepted any more. Your other tokens go on working.",
    ),
    (Event.CUSTOMER_LOCKED, Language.JA): (
        "ロックのお知らせ",
        "ワンタイムパスワードの誤入力が所定の回数に達したか、窓口の操作により、ログインをロックしました。",
    ),
    (Event.CUSTOMER_LOCKED, Language.EN): (
        "Login locked",
        "Your login was locked: too many wrong one-time passwords were entered, or our staff locked it.",
    ),
    (Event.REPORTED_LOST, Language.JA): (
        "紛失・盗難の届出受付のお知らせ",
        "トークンの紛失・盗難の届出を受け付けました。このトークンは失効し、ログインできません。",
    ),
    (Event.REPORTED_LOST, Language.EN): (
        "Token reported lost or stolen",
        "Your token was reported lost or stolen. It is not accepted any more, and login is refused.",
    ),
    (Event.ONE_REPORTED_LOST, Language.JA): (
        "紛失・盗難の届出受付のお知らせ",
        "トークンの紛失・盗難の届出を受け付けました。このトークンは失効しました。ほかのトークンは引き続きご利用いただけます。",
    ),
    (Event.ONE_REPORTED_LOST, Language.EN): (
        "Token reported lost or stolen",
        "One of your tokens was reported lost or stolen. It is not accepted any more. Your other tokens go on working.",
    ),
    (Event.REISSUE_PERMITTED, Language.JA): (
        "再発行手続きのお知らせ",
        "トークンの再発行を受け付けました。新しいトークンの利用登録を行ってください。",
    ),
    (Event.REISSUE_PERMITTED, Language.EN): (
        "Reissue permitted",
        "The reissue of your token was accepted. You can enrol a new token now.",
    ),
    (Event.CHANGE_ASKED, Language.JA): (
        "端末変更（トークン変更）のお願い",
        "現在ご利用のトークンは、まもなくご利用いただけなくなります。{by}、新しいトークンへの端末変更をお願いいたします。\n"
        "いつものログイン画面からお手続きください。このメールにリンクはありません。\n"
        "お手続きには現在のトークンが必要です。完了するまで、削除や処分をなさらないでください。",
    ),
    (Event.CHANGE_ASKED, Language.EN): (
        "Please change your token",
        "Your present token will soon stop working. Please change to a new one {by}.\n"
        "Begin at the login page that you always use; this mail has no link.\n"
        "The change needs the present token: keep it until you are done.",
    ),
}
_BY = {Language.JA: "{}までに", Language.EN: "by {}"}
_SOON = {Language.JA: "お早めに", Language.EN: "soon"}
_BODY = {
    Language.JA: """\
お客さま

平素より当金庫をご利用いただき、誠にありがとうございます。

{what}

契約者ＩＤ：{contract}
日時：{when}
{token}受付番号：{reference}

{contact_if}
{contact}

このメールは送信専用の自動配信です。パスワードをお尋ねすることはありません。
""",
    Language.EN: """\
Dear customer,

{what}

Contract ID: {contract}
Time: {when}
{token}Reference: {reference}

{contact_if}
{contact}

This mail was sent automatically. We never ask for passwords.
""",
}
_NOT_YOU = {
    Language.JA: "お心当たりのない場合は、ただちに下記までご連絡ください。",
    Language.EN: "If this was not you, contact us at once:",
}
_QUESTIONS = {
    Language.JA: "ご不明な点は、下記までお問い合わせください。",
    Language.EN: "If you have questions, contact us:",
}
_ADDRESS = re.compile(r"[!#-'*+/-9=?A-Z^-~.-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
"""An address by RFC 5321 without quoted local parts and address literals, which customers do not have."""

_TOKEN = {Language.JA: "トークンＩＤ：{}\n", Language.EN: "Token ID: {}\n"}


@dataclass(frozen=True, slots=True)
class MailIdentity:
    """What is the same in every notice: sender, address for replies, contact of the bank, time zone of the times.
    ``leave_by``: the day by which tokens of a verifier are to be changed, by its name."""

    sender: Address
    reply_to: Address | None
    contact: str
    zone: tzinfo
    leave_by: Mapping[str, date] = field(default_factory=dict)


def render(notice: Waiting, identity: MailIdentity) -> EmailMessage:
    """The mail of a notice. Its Message-ID is made from the notice's key, so that a second copy after a crash can be
    recognised. Raises ValueError for an address that mail cannot be sent to."""
    if not _ADDRESS.fullmatch(notice.email):
        raise ValueError("no address that mail can go to")
    language = Language(notice.language or Language.JA)
    subject, what = _TEXTS[Event(notice.event), language]
    at = datetime.fromtimestamp(ms_of(notice.key) / 1000, identity.zone)
    asks = notice.event == Event.CHANGE_ASKED
    if asks:
        what = what.format(by=_by(identity.leave_by.get(notice.verifier or ""), at.date(), language))
    message = EmailMessage(policy=SMTP)
    message["From"] = identity.sender
    message["To"] = Address(addr_spec=notice.email)
    if identity.reply_to is not None:
        message["Reply-To"] = identity.reply_to
    message["Subject"] = subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{notice.key}.notice@{identity.sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    body = _BODY[language].format(
        what=what,
        contract=masked(notice.contract_id),
        when=moment_text(ms_of(notice.key) / 1000, identity.zone, language),
        token=_TOKEN[language].format(masked(notice.token_id)) if notice.token_id else "",
        reference=reference_of(notice.key),
        contact_if=(_QUESTIONS if asks else _NOT_YOU)[language],
        contact=identity.contact,
    )
    message.set_content(body, cte="base64" if language is Language.JA else None)
    message["Content-Language"] = language.value  # after set_content, which removes such headers
    return message


def _by(day: date | None, today: date, language: Language) -> str:
    """The end of the time in which a token is to be changed; of a day that is over, or not set, only that it is
    near."""
    return _SOON[language] if day is None or day <= today else _BY[language].format(day_text(day, language))


def masked(text: str) -> str:
    """The text with all but its last four characters masked: enough for customers to recognise their own."""
    return "*" * max(len(text) - 4, 0) + text[-4:] if len(text) > 4 else "*" * len(text)
