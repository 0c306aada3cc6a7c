"""Folds what somebody types and what is stored into one form, so that either finds the other: any width, case, kana,
grouping, and the variants of Kanji that Japanese names are written with. Pure. For searching only: what is folded is
never shown, and two customers may well have the same name in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from otp_core.otp import ANY_SEPARATOR

LONGEST_TERM = 64
"""Characters of a folded text; the rest of a longer one is not looked at."""

MOST_WORDS = 6
"""Words of one name that begin a term, and words of a search that are looked for."""

_LONGEST_TEXT = 256
"""Characters of a text that are looked at: more than a name or an address has here."""

_BETWEEN_WORDS = re.compile("[\\s\u30fb\u00b7,、，]+")
_REPEATED = re.compile("(.)(々+)")

# The dakuten and handakuten: they make another kana, and are no accents.
_VOICED = "\u3099\u309a"

# Parenthesised forms of the table of Kanji for general use (Joyo Kanji Hyo, Cabinet Notification No. 2 of 2010), and
# those that names may have beside (Ordinance for Enforcement of the Family Register Act, tables 2.1 and 2.2): each pair
# is the old form and the one that it becomes. Some are one code point with their new form after NFKC, and not here.
_OLD_FORMS = (
    "亞亜 惡悪 壓圧 圍囲 醫医 爲為 壹壱 隱隠 榮栄 營営 衞衛 驛駅 圓円 鹽塩 緣縁 艷艶 應応 "
    "歐欧 毆殴 櫻桜 奧奥 橫横 溫温 穩穏 假仮 價価 畫画 會会 繪絵 壞壊 懷懐 槪概 擴拡 殼殻 "
    "覺覚 學学 嶽岳 樂楽 渴渇 罐缶 卷巻 陷陥 勸勧 寬寛 關関 歡歓 觀観 氣気 歸帰 龜亀 僞偽 "
    "戲戯 犧犠 舊旧 據拠 擧挙 虛虚 峽峡 挾挟 狹狭 鄕郷 曉暁 區区 驅駆 勳勲 薰薫 徑径 莖茎 "
    "惠恵 揭掲 溪渓 經経 螢蛍 輕軽 繼継 鷄鶏 藝芸 擊撃 缺欠 硏研 縣県 儉倹 劍剣 險険 圈圏 "
    "檢検 獻献 權権 顯顕 驗験 嚴厳 廣広 效効 恆恒 黃黄 鑛鉱 號号 國国 黑黒 碎砕 濟済 齋斎 "
    "劑剤 雜雑 參参 棧桟 蠶蚕 慘惨 贊賛 殘残 絲糸 齒歯 兒児 辭辞 濕湿 實実 寫写 釋釈 壽寿 "
    "收収 從従 澁渋 獸獣 縱縦 肅粛 處処 緖緒 敍叙 將将 稱称 涉渉 燒焼 證証 奬奨 條条 狀状 "
    "乘乗 淨浄 剩剰 疊畳 繩縄 壤壌 孃嬢 讓譲 釀醸 觸触 囑嘱 眞真 寢寝 愼慎 盡尽 圖図 粹粋 "
    "醉酔 穗穂 隨随 髓髄 樞枢 數数 瀨瀬 聲声 齊斉 靜静 竊窃 攝摂 專専 淺浅 戰戦 踐践 錢銭 "
    "潛潜 纖繊 禪禅 雙双 壯壮 爭争 莊荘 搜捜 插挿 巢巣 曾曽 瘦痩 裝装 總総 騷騒 增増 藏蔵 "
    "臟臓 卽即 屬属 續続 墮堕 對対 體体 帶帯 滯滞 臺台 瀧滝 擇択 澤沢 擔担 單単 膽胆 團団 "
    "斷断 彈弾 遲遅 癡痴 蟲虫 晝昼 鑄鋳 廳庁 徵徴 聽聴 敕勅 鎭鎮 遞逓 鐵鉄 點点 轉転 傳伝 "
    "燈灯 當当 黨党 盜盗 稻稲 鬭闘 德徳 獨独 讀読 屆届 貳弐 惱悩 腦脳 霸覇 拜拝 廢廃 賣売 "
    "麥麦 發発 髮髪 拔抜 晚晩 蠻蛮 祕秘 濱浜 甁瓶 拂払 佛仏 倂併 竝並 餠餅 邊辺 變変 辨弁 "
    "瓣弁 辯弁 步歩 寶宝 豐豊 襃褒 飜翻 每毎 萬万 滿満 麵麺 默黙 彌弥 譯訳 藥薬 與与 豫予 "
    "餘余 譽誉 搖揺 樣様 謠謡 來来 賴頼 亂乱 覽覧 龍竜 兩両 獵猟 綠緑 淚涙 壘塁 禮礼 勵励 "
    "戾戻 靈霊 齡齢 曆暦 歷歴 戀恋 鍊錬 爐炉 勞労 郞郎 樓楼 錄録 灣湾 亙亘 凛凜 堯尭 巖巌 "
    "晄晃 檜桧 槇槙 禰祢 禱祷 祿禄 穰穣 萠萌 遙遥 薗園 駈駆 嶋島 盃杯 冨富 峯峰 埜野 凉涼 "
)

# Forms of surnames that are in neither table: variants of the same character in the unified characters of the family
# registers (Koseki Toitsu Moji) or in JIS X 0213.
_VARIANTS = (
    "髙高 﨑崎 嵜崎 碕崎 𠮷吉 栁柳 桒桑 邉辺 嶌島 濵浜 渕淵 渊淵 舘館 圡土 曻昇 槗橋 𣘺橋 "
    "鈆鉛 晧皓 瑤瑶 彥彦 淸清 閒間 顏顔 吳呉 兎兔 曺曹 靑青 藪薮 籔薮 籠篭 龝秋 穐秋 翆翠 "
    "寳宝 悳徳 枩松 柗松 鉃鉄 泻潟 鷗鴎 鶯鴬 煕熙 凞熙 雞鶏 礪砺 蛎蠣 蘆芦 杦杉 枡桝 檮梼 "
    "濤涛 舩船 莵菟 聰聡 鴈雁 峩峨 裵裴 "
)

# Two characters that are told apart in a register and mixed up at every counter.
_MIXED_UP = "斎斉"

_SMALL_KANA = "ぁあぃいぅうぇえぉおっつゃやゅゆょよゎわゕかゖけ"
"""Each with its large form: the banks' own interchange format has no small kana in readings."""

_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}


def _pairs(texts: Iterable[str]) -> Iterator[tuple[int, int]]:
    for text in texts:
        yield ord(text[0]), ord(text[1])


_KANA = dict(_pairs(re.findall("..", _SMALL_KANA)))
_KANJI = dict(_pairs("".join((*_OLD_FORMS, *_VARIANTS, _MIXED_UP)).split()))
_FORMS: dict[int, int] = {
    **{before: _KANJI.get(after, after) for before, after in _KANJI.items()},
    **{code: _KANA.get(hiragana, hiragana) for code, hiragana in _KATAKANA.items()},
    **_KANA,
}


def folded_words(text: str) -> list[str]:
    """The words of a text, each folded: blanks, commas and middle dots separate them, hyphens and long-vowel marks do
    not count. A text is looked at up to 256 characters. May be empty."""
    if text.isascii() and text.isalnum():  # a contract ID, as most are
        return [text[:_LONGEST_TEXT].lower()]
    words = (ANY_SEPARATOR.sub("", word) for word in _BETWEEN_WORDS.split(_folded(text[:_LONGEST_TEXT])))
    return [_REPEATED.sub(_repeated, word) if "々" in word else word for word in words if word][:MOST_WORDS]


def folded(text: str) -> str:
    """The words of a text as one, at most LONGEST_TERM characters: how grouping does not count."""
    return "".join(folded_words(text))[:LONGEST_TERM]


def name_terms(text: str) -> set[str]:
    """What a name is found by: its words, beginning with each of them in turn. ``山田 太郎`` is found as 山田太郎 and
    as 太郎山田, and so by 山, 山田 太, 太郎 and 太郎 山."""
    words = folded_words(text)
    return {"".join(words[at:] + words[:at])[:LONGEST_TERM] for at in range(len(words))}


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Compatibility forms and accents come apart; then what has no meaning of its own goes, and a voiced kana is one
    # character again.
    apart = unicodedata.normalize("NFKD", text)[: 2 * _LONGEST_TEXT]
    bare = "".join(one for one in apart if not unicodedata.combining(one) or one in _VOICED)
    return unicodedata.normalize("NFC", bare).casefold().translate(_FORMS)


def _repeated(found: re.Match[str]) -> str:
    return found[1] * (1 + len(found[2]))
