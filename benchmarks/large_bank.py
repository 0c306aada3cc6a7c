"""Fills a store with a bank's customers, tokens and years of logins, in minutes: for what staff does there.

Rows are written into the tables directly and sorted for their indexes, because commands would take an hour. What the
product derives (search terms, look-up tables of the audit trail) is made by the product's own code.
"""

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

from benchmarks import tokens
from otp_core.audit import TAG_BITS, Event, Ids
from otp_core.store.lookup_task import LookupTask
from otp_core.store.search_terms import Named
from otp_core.store.sqlite import driver
from otp_core.store.store import Store, initialise

DAYS = 365
"""Over which the logins are spread."""

BUSY = 0
"""The number of a customer who has logged in very often, as a program that watches does."""

BUSY_SHARE = 0.02
"""Of all rows, those of the busy customer."""

ACTORS = tuple(f"gateway-{number}" for number in range(6))
USES = (("active", 0.80), ("none", 0.15), ("suspended", 0.02), ("lost", 0.01), ("reissue permitted", 0.02))
LOCKED_SHARE = 0.0005
_EVENTS = (
    (Event.LOGIN_ACCEPTED, 0.915),
    (Event.LOGIN_REJECTED, 0.06),
    (Event.LOGIN_CHALLENGED, 0.02),
    (Event.ENROLLED, 0.003),
    (Event.SUSPENDED, 0.001),
    (Event.CUSTOMER_LOCKED, 0.0009),
    (Event.CUSTOMER_RENAMED, 0.00002),
    (Event.REISSUE_PERMITTED, 0.00008),
)
_REASONS = {Event.LOGIN_ACCEPTED: "right code", Event.LOGIN_REJECTED: "wrong code"}

_COMMON_SHARE = 0.25
"""Of the customers, those with a surname of the list; as many have a given name of it. In life, the first surname has
1.5 in 100."""

# Surnames and given names, each with its reading; the first ones are the most common.
_SURNAMES = (
    "佐藤サトウ 鈴木スズキ 髙橋タカハシ 高橋タカハシ 田中タナカ 伊藤イトウ 渡辺ワタナベ 渡邊ワタナベ "
    "山本ヤマモト 中村ナカムラ 小林コバヤシ 加藤カトウ 吉田ヨシダ 山田ヤマダ 佐々木ササキ 山口ヤマグチ "
    "松本マツモト 井上イノウエ 木村キムラ 林ハヤシ 斎藤サイトウ 齋藤サイトウ 清水シミズ 山﨑ヤマザキ 阿部アベ "
    "森モリ 池田イケダ 橋本ハシモト 石川イシカワ 小川オガワ 前田マエダ 岡田オカダ 藤田フジタ 後藤ゴトウ "
    "長谷川ハセガワ 村上ムラカミ 近藤コンドウ 石井イシイ 坂本サカモト 遠藤エンドウ 青木アオキ 藤井フジイ "
    "西村ニシムラ 福田フクダ 太田オオタ 三浦ミウラ 藤原フジワラ 岡本オカモト 松田マツダ 中川ナカガワ "
)
_GIVEN = (
    "太郎タロウ 花子ハナコ 一郎イチロウ 次郎ジロウ 健一ケンイチ 恵子ケイコ 和子カズコ 洋子ヨウコ 幸子サチコ "
    "京子キョウコ 清キヨシ 勝マサル 誠マコト 博ヒロシ 茂シゲル 美咲ミサキ 陽菜ヒナ 葵アオイ 結衣ユイ 蓮レン "
    "大翔ヒロト 翔太ショウタ 拓也タクヤ 直樹ナオキ 真由美マユミ 由美子ユミコ 智子トモコ 久美子クミコ 明美アケミ "
    "裕子ユウコ "
)


# What other names are put together from.
_FIRST = (
    "山ヤマ 川カワ 田タ 松マツ 竹タケ 石イシ 大オオ 小コ 中ナカ 上カミ 下シモ 北キタ 南ミナミ 東ヒガシ 西ニシ "
    "高タカ 長ナガ 永ナガ 野ノ 原ハラ 森モリ 岡オカ 島シマ 水ミズ 谷タニ 宮ミヤ 内ウチ 村ムラ 寺テラ 福フク"
)
_SECOND = (
    "村ムラ 口グチ 本モト 下シタ 崎サキ 﨑サキ 澤ザワ 沢ザワ 島シマ 嶋シマ 川カワ 野ノ 原ハラ 井イ 谷タニ 岡オカ "
    "浦ウラ 邊ベ 辺ベ 塚ツカ 内ウチ 尾オ 倉クラ 木キ 屋ヤ 池イケ 橋ハシ 濵ハマ 林バヤシ 岸ギシ"
)
_FIRST_OF_GIVEN = (
    "健ケン 真マ 美ミ 和カズ 正マサ 幸ユキ 優ユウ 翔ショウ 直ナオ 智トモ 由ユ 裕ヒロ 康ヤス 英ヒデ 孝タカ 秀ヒデ "
    "純ジュン 千チ 早サ 友トモ"
)
_SECOND_OF_GIVEN = (
    "一イチ 子コ 美ミ 介スケ 人ト 香カ 太タ 也ヤ 樹キ 之ユキ 代ヨ 江エ 男オ 夫オ 彦ヒコ 恵エ 奈ナ 里リ 斗ト 希キ"
)


@dataclass(frozen=True, slots=True)
class Size:
    """``audit_rows``: of logins mostly."""

    customers: int
    audit_rows: int


def contract_id(number: int) -> str:
    """Seven digits, in no order."""
    return f"{1_000_000 + number * 7919 % 9_000_000:07}"


def named(number: int) -> Named:
    """Contract ID, name, reading and e-mail address of a customer."""
    drawn = random.Random(number)
    surname = _drawn(drawn, _SURNAMES, _FIRST, _SECOND)
    given = _drawn(drawn, _GIVEN, _FIRST_OF_GIVEN, _SECOND_OF_GIVEN)
    address = sha1(b"address %d" % number, usedforsecurity=False).hexdigest()[:10]
    return Named(
        contract_id(number),
        f"{_kanji(surname)} {_kanji(given)}",
        f"{_kana(surname)} {_kana(given)}",
        f"{address}@example.jp",
    )


def _drawn(drawn: random.Random, common: str, first: str, second: str) -> str:
    """A name of the list, its first ones more often; or one that is put together."""
    if drawn.random() < _COMMON_SHARE:
        names = common.split()
        return names[int(len(names) * drawn.random() ** 1.5)]
    one, two = drawn.choice(first.split()), drawn.choice(second.split())
    return _kanji(one) + _kanji(two) + _kana(one) + _kana(two)


def _kana(text: str) -> str:
    return "".join(one for one in text if "ァ" <= one <= "ヶ")


def _kanji(text: str) -> str:
    return text.removesuffix(_kana(text))


def fill(url: str, master_key_file: Path, size: Size) -> Iterator[str]:
    """Makes the store; says what is done."""
    initialise(url, master_key_file, ids=Ids(), say=lambda _: None)
    store = Store(url, master_key_file, ids=Ids(), busy_seconds=5.0)
    begun = time.monotonic()
    connection = driver.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-1000000", "temp_store=FILE"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        for what, statements in (
            ("customers and tokens", _people(store, size)),
            ("search terms", _terms(size)),
            ("audit rows", _trail(size)),
        ):
            connection.execute("BEGIN")
            for statement, rows in statements:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
            yield f"{what} after {time.monotonic() - begun:.0f} s"
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    finally:
        connection.close()
    task, now = LookupTask(store, lambda: 0), int(time.time() * 1000)
    steps = []
    while True:
        before = time.monotonic()
        if not task.step(now):
            break
        steps.append(time.monotonic() - before)
    middle = sorted(steps)[len(steps) // 2] * 1000 if steps else 0
    yield f"look-up tables after {time.monotonic() - begun:.0f} s; {len(steps)} stretches, {middle:.0f} ms each"


Statements = Iterator[tuple[str, Iterable[tuple[Any, ...]]]]


def _key(number: int) -> int:
    """Of a customer, years ago."""
    return (1_600_000_000_000_000 + number) << TAG_BITS


def _use(number: int) -> str:
    return str(_weighted(number, b"use", USES))


def _weighted(number: int, salt: bytes, choices: Iterable[tuple[Any, float]]) -> Any:
    left = int.from_bytes(sha1(b"%d" % number + salt, usedforsecurity=False).digest()[:4], "big") / 2**32
    for choice, share in choices:
        left -= share
        if left < 0:
            return choice
    return choice


def _people(store: Store, size: Size) -> Statements:
    everybody = range(size.customers)
    now = int(time.time() * 1000)

    def locked(number: int) -> int | None:
        return now - number if _weighted(number, b"lock", ((True, LOCKED_SHARE), (False, 1))) else None

    def state(number: int) -> str:
        if _use(number) in ("active", "suspended"):
            return "bound"
        return str(_weighted(number, b"state", (("available", 0.9), ("retired", 0.05), ("lost", 0.05))))

    yield (
        "INSERT INTO customer (key, contract_id, otp_use, locked_at, language) VALUES (?, ?, ?, ?, 'ja')",
        ((_key(number), contract_id(number), _use(number), locked(number)) for number in everybody),
    )
    yield (
        "INSERT INTO profile (customer_key, name, reading, email) VALUES (?, ?, ?, ?)",
        ((_key(number), one.name, one.reading, one.email) for number in everybody for one in (named(number),)),
    )
    yield (
        "INSERT INTO token (key, token_id, seed, kind, algorithm, digits, period, state, last_step, last_at)"
        " VALUES (?, ?, ?, 'totp', 'sha1', 6, 30, ?, 58000000, ?)",
        (
            (_key(number), id_, store.sealer.seal(tokens.seed(number), id_), state(number), now - number)
            for number in everybody
            for id_ in (tokens.token_id(number),)
        ),
    )
    yield (
        "INSERT INTO binding (customer_key, token_key, bound_at) VALUES (?, ?, ?)",
        ((_key(number), _key(number), now - number) for number in everybody if state(number) == "bound"),
    )
    yield (
        "INSERT INTO permit VALUES (?, ?, ?)",
        ((_key(number), number, now) for number in everybody if _use(number) == "reissue permitted"),
    )


def _terms(size: Size) -> Statements:
    yield "CREATE TEMP TABLE unsorted (term, customer_key)", [()]
    yield (
        "INSERT INTO unsorted VALUES (?, ?)",
        ((term, _key(number)) for number in range(size.customers) for term in named(number).terms()),
    )
    yield "INSERT INTO search_term SELECT term, customer_key FROM unsorted ORDER BY term, customer_key", [()]


def _trail(size: Size) -> Statements:
    end = int(time.time() * 1_000_000)
    apart = DAYS * 86_400_000_000 // max(size.audit_rows, 1)
    drawn = random.Random(7)

    def row(number: int) -> tuple[Any, ...]:
        whose = BUSY if drawn.random() < BUSY_SHARE else drawn.randrange(size.customers)
        event = _weighted(number, b"event", _EVENTS)
        actor = drawn.choice(ACTORS) if event.startswith("login.") else "kato"
        id_ = (end - (size.audit_rows - number) * apart) << TAG_BITS
        reason = _REASONS.get(event, "")
        return id_, event.value, actor, contract_id(whose), tokens.token_id(whose), "192.0.2.1", reason

    rows = (row(number) for number in range(size.audit_rows))
    yield "INSERT INTO audit (id, event, actor, customer, token, source, reason) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
