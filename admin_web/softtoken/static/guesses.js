// What is guessed first: lines on keypads and keyboards, well-known numbers, common words. Only facts.

/** Straight lines of three on a telephone's keypad, and the middle column down to 0. */
export const KEYPAD_LINES = ["123", "456", "789", "147", "258", "369", "159", "357", "2580"].flatMap((line) => [
  line,
  [...line].reverse().join(""),
]);

/** Years of history, constants, squares of two, and numbers that read as Japanese words; all of eight digits or more. */
export const KNOWN_NUMBERS = [
  "31415926", "27182818", "16180339", "14142135", "17320508", "22360679", "11235813", "12481632", "24816326",
  "23571113", "11922960", "07940645", "46494649", "39393939", "45454545", "08930893", "11221122", "12312312",
  "19451945", "20002000", "12051205", "11251125", "10203040", "01020304", "13579246", "24681357", "02468135",
  "13572468", "98765432", "11111112", "12344321", "14789632", "74123698", "36987412", "12369874", "78963214",
]; // prettier-ignore

/** Rows of keys, the alphabet, the order of the kana and the poem that has each of them once. */
export const ROWS = [
  "`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "abcdefghijklmnopqrstuvwxyz",
  "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
  "いろはにほへとちりぬるをわかよたれそつねならむうゐのおくやまけふこえてあさきゆめみしゑひもせす",
]; // prettier-ignore

/** Columns of keys. */
export const COLUMNS = ["1qaz2wsx3edc4rfv5tgb6yhn7ujm", "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujmikolp", "zaqxswcdevfr"];

/** Words that lists of leaked passwords begin with, in English and Japanese (katakana as hiragana), and the words of this
 * page. */
export const WORDS = [
  "correcthorsebatterystaple", "onetimepassword", "konnichiwa", "tokyotower", "arigatou", "arigato", "sunshine",
  "princess", "football", "baseball", "starwars", "pokemon", "pikachu", "doraemon", "password", "passwort", "passw0rd",
  "passphrase", "nihonjin", "hirogin", "shinkin", "sekisho", "ginkou", "iloveyou", "trustno1", "letmein", "welcome",
  "superman", "batman", "michael", "jessica", "charlie", "shadow", "master", "monkey", "dragon", "freedom", "whatever",
  "security", "computer", "internet", "samsung", "android", "iphone", "google", "yahoo", "amazon", "secret", "sakura",
  "tokyo", "osaka", "kyoto", "japan", "nippon", "nihon", "himitsu", "anshou", "bangou", "token", "login", "admin",
  "qwerty", "abc123", "hello", "love", "aishiteru", "daisuki", "watashi", "tanjoubi", "kazoku", "tarou", "hanako",
  "yamada", "tanaka", "suzuki", "satou", "takahashi", "bank", "money", "january", "february", "march", "april",
  "わんたいむぱすわーど", "あんしょうばんごう", "ぱすわーど", "暗証番号", "番号", "ひみつ", "秘密", "とーくん", "ろぐいん",
  "しんようきんこ", "信用金庫", "しんきん", "信金", "ぎんこう", "銀行", "こんにちは", "おはよう", "ありがとう", "さくら", "にほん",
  "日本", "とうきょう", "東京", "おおさか", "大阪", "あいしてる", "愛してる", "だいすき", "大好き", "たんじょうび", "誕生日", "かぞく",
  "家族", "わたし", "たろう", "太郎", "はなこ", "花子", "やまだ", "山田", "たなか", "田中", "すずき", "鈴木", "さとう", "佐藤",
  "june", "july", "august", "september", "october", "november", "december", "spring", "summer", "autumn", "winter",
]; // prettier-ignore
