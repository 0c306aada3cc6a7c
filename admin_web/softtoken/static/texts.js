// All texts that a customer reads, in Japanese and English, and the choice of the language. Never touches the page.

/** By language, then by name. Both languages have the same names and the same {places}. */
export const TEXTS = {
  ja: {
    title: "ワンタイムパスワード",
    appName: "ソフトウェアトークン",
    loading: "読み込んでいます…",
    setupTitle: "トークンの準備",
    setupLead: "この端末を、ワンタイムパスワードを表示するトークンにします。まず、トークンを守る方法を選んでください。",
    byPasskey: "パスキーで守る（おすすめ）",
    byPasskeyHint: "この端末の指紋、顔、または画面ロックで開きます。",
    passkeyButton: "パスキーを作って始める",
    byPin: "暗証番号で守る",
    byPinHint:
      "６桁以上の数字です。ログインパスワードとは別のものにしてください。パスキーより弱い方法です。端末内のデータが複製されると、暗証番号を総当たりで試されるおそれがあります。桁数が多いほど安全です。",
    pin: "暗証番号",
    pinNew: "新しい暗証番号（６桁以上の数字）",
    pinAgain: "もう一度、同じ暗証番号",
    pinButton: "暗証番号を決めて始める",
    working: "お待ちください…",
    lockedTitle: "ロックされています",
    openByPasskey: "パスキーで開く",
    openByPin: "開く",
    forgotten: "開けないときは端末変更になります。お取引店にご連絡ください。",
    tokenId: "トークンＩＤ",
    code: "ワンタイムパスワード",
    seconds: "残り{seconds}秒",
    copyId: "トークンＩＤをコピー",
    copyCode: "パスワードをコピー",
    copied: "コピーしました。",
    notCopied: "コピーできません。画面を見て入力してください。",
    usage: "利用登録では、トークンＩＤとワンタイムパスワードを入力します。その後のログインでは、ログインパスワードに続いて、ワンタイムパスワードを入力します。",
    enrolBy: "利用登録は、{date}までに済ませてください。利用登録をしたトークンは、その後も使えます。",
    toEnrolment: "利用登録のページへ進む",
    toPortal: "ワンタイムパスワードのお手続き一覧",
    never: "ワンタイムパスワードを、電話やメールで人に教えないでください。当金庫がお尋ねすることはありません。",
    lock: "ロックする",
    newToken: "新しいトークンを作る",
    newTitle: "新しいトークンを作りますか",
    newLead:
      "この端末のトークン {tokenId} は消え、元に戻せません。消した後は、このトークンのワンタイムパスワードを表示できません。",
    newAdvice:
      "このトークンを利用登録している場合は、消す前に利用停止の手続きをし、新しいトークンを作った後に、あらためて利用登録をしてください。消した後に手続きをするには、お取引店へのご連絡が必要です。",
    newConfirm: "消して、新しいトークンを作る",
    cancel: "中止",
    clearing: "ブラウザーのデータを消すと、トークンも消えます。その場合は端末変更になり、お取引店へのご連絡が必要です。",
    clockOff: "この端末の時計が約{amount}ずれています。ワンタイムパスワードは、正しい時刻に直して表示しています。時刻の自動設定をオンにしてください。",
    clockRemembered: "時刻を確かめられません。前に確かめたとき、この端末の時計は約{amount}ずれていました。ワンタイムパスワードは、そのずれを直して表示しています。その後に時計を合わせた場合は、インターネットにつないで、もう一度お試しください。",
    clockJumped: "この端末の時計が変わりましたが、正しい時刻を確かめられません。表示しているワンタイムパスワードは、使えないことがあります。時刻の自動設定をオンにして、インターネットにつないでください。",
    checkingTime: "時刻を確かめています…",
    readCode: "ワンタイムパスワードを読み上げる",
    clipboardCleared: "コピーしたパスワードを消しました。",
    notPrinted: "このページは印刷できません。",
    keptYes: "このブラウザーは、空き容量が減っても、トークンを自動では消しません。",
    keptNo: "このブラウザーは、空き容量が減ると、トークンを自動で消すことがあります。ホーム画面に追加しておくと、消えにくくなります。",
    keptInTab: "このタブを７日間使わないと、トークンは自動で消えます。ホーム画面に追加したアプリでは、新しいトークンの準備が必要です。",
    keptUnknown: "空き容量が減ったときに、このブラウザーがトークンを残すかどうかは、確かめられません。",
    homeTitle: "先に、ホーム画面に追加してください",
    homeLead: "この端末では、ホーム画面のアプリだけが、トークンを長く残せます。準備を始める前に、次の順に操作してください。",
    homeShare: "共有ボタン（四角から上向きの矢印）を押します。見当たらないときは、「…」を押すと出てきます。",
    homeAdd: "「ホーム画面に追加」を選びます。",
    homeOpen: "ホーム画面にできたアイコンから開き、トークンの準備をします。",
    homeTab: "ブラウザーのタブで準備したトークンは、７日間使わないと自動で消え、ホーム画面のアプリには移せません。",
    stayInTab: "タブのまま準備する（おすすめしません）",
    offline: "オフラインです。ワンタイムパスワードは、このまま使えます。",
    language: "言語",
    errorPrefix: "エラー：",
    pinTooShort: "暗証番号は、６桁以上の数字で入力してください。",
    pinTooEasy: "同じ数字や続きの数字だけの暗証番号は使えません。別の数字を入力してください。",
    pinsDiffer: "２つの暗証番号が違います。もう一度入力してください。",
    wrongPin: "暗証番号が違います。もう一度入力してください。",
    passkeyNo: "パスキーを確認できませんでした。もう一度お試しください。",
    noPrf: "この端末のパスキーでは、トークンを守れません。暗証番号をお使いください。作られたパスキーは、端末の設定から消せます。",
    unreachable: "トークンを受け取れませんでした。インターネットにつながっていることを確かめて、もう一度お試しください。",
    tooMany: "ただいま、新しいトークンをお渡しできません。１時間ほど後に、もう一度お試しください。",
    broken: "このブラウザーでは使えません。シークレットモードを終わるか、別のブラウザーでお試しください。",
    damaged: "トークンのデータが読めません。端末変更になります。お取引店にご連絡ください。",
  },
  en: {
    title: "One-time password",
    appName: "Software token",
    loading: "Loading…",
    setupTitle: "Set up your token",
    setupLead: "This device becomes a token that shows one-time passwords. First choose how the token is protected.",
    byPasskey: "Protect it with a passkey (recommended)",
    byPasskeyHint: "Opens with this device's fingerprint, face or screen lock.",
    passkeyButton: "Create a passkey and start",
    byPin: "Protect it with a PIN",
    byPinHint:
      "Six digits or more, different from your login password. A PIN is weaker than a passkey: somebody who copies this device's data can try one PIN after another. More digits are safer.",
    pin: "PIN",
    pinNew: "New PIN (six digits or more)",
    pinAgain: "The same PIN again",
    pinButton: "Set the PIN and start",
    working: "Please wait…",
    lockedTitle: "Locked",
    openByPasskey: "Open with the passkey",
    openByPin: "Open",
    forgotten: "If you cannot open it, a device change is needed: call your branch.",
    tokenId: "Token ID",
    code: "One-time password",
    seconds: "{seconds} seconds left",
    copyId: "Copy the token ID",
    copyCode: "Copy the password",
    copied: "Copied.",
    notCopied: "It cannot be copied. Please read it and type it.",
    usage: "To enrol, enter the token ID and the one-time password. From the next login on, a one-time password is asked for after your login password.",
    enrolBy: "Enrol by {date}. An enrolled token goes on working after that day.",
    toEnrolment: "Go on to the enrolment page",
    toPortal: "All procedures for one-time passwords",
    never: "Never tell anybody a one-time password by phone or mail. We never ask for it.",
    lock: "Lock",
    newToken: "Make a new token",
    newTitle: "Make a new token?",
    newLead: "The token {tokenId} will be erased from this device and cannot be brought back. Its one-time passwords cannot be shown any more.",
    newAdvice:
      "If you have enrolled this token, suspend the use of one-time passwords before you erase it, and enrol again with the new token. Once it is erased, that takes a call to your branch.",
    newConfirm: "Erase it and make a new token",
    cancel: "Cancel",
    clearing: "Clearing the browser's data erases the token too; that is a device change, and takes a call to your branch.",
    clockOff: "This device's clock is off by about {amount}. The one-time passwords shown are for the right time. Turn on automatic date and time.",
    clockRemembered: "The time cannot be checked. When it was last checked, this device's clock was off by about {amount}; the one-time passwords shown allow for that. If you have set the clock since, connect to the internet and try again.",
    clockJumped: "This device's clock has changed, and the right time cannot be checked. The one-time password shown may be refused. Turn on automatic date and time, and connect to the internet.",
    checkingTime: "Checking the time…",
    readCode: "Read the one-time password aloud",
    clipboardCleared: "The copied password was cleared.",
    notPrinted: "This page cannot be printed.",
    keptYes: "This browser will not erase the token by itself when space runs short.",
    keptNo: "This browser may erase the token by itself when space runs short. Adding this page to the home screen makes that less likely.",
    keptInTab: "If this tab is not used for seven days, the token is erased. An app on the home screen needs a new token of its own.",
    keptUnknown: "It is not known whether this browser keeps the token when space runs short.",
    homeTitle: "Add this page to the home screen first",
    homeLead: "On this device only an app on the home screen keeps a token for long. Before you set it up, follow these steps.",
    homeShare: "Tap the share button (a square with an arrow up). If you do not see it, tap “…” first.",
    homeAdd: "Choose “Add to Home Screen”.",
    homeOpen: "Open the app by its new icon on the home screen, and set up the token there.",
    homeTab: "A token set up in a browser tab is erased after seven days without use, and cannot be moved to the app on the home screen.",
    stayInTab: "Set it up in this tab all the same (not recommended)",
    offline: "You are offline. One-time passwords work all the same.",
    language: "Language",
    errorPrefix: "Error: ",
    pinTooShort: "Enter a PIN of six digits or more.",
    pinTooEasy: "A PIN of equal or consecutive digits cannot be used. Enter other digits.",
    pinsDiffer: "The two PINs differ. Enter them again.",
    wrongPin: "This PIN is wrong. Enter it again.",
    passkeyNo: "The passkey could not be confirmed. Please try again.",
    noPrf: "This device's passkeys cannot protect the token. Please use a PIN. The passkey just made can be deleted in the device's settings.",
    unreachable: "No token could be fetched. Check that you are connected to the internet and try again.",
    tooMany: "No new token can be handed out just now. Please try again in about an hour.",
    broken: "This browser cannot be used. Leave private mode, or try another browser.",
    damaged: "The token's data cannot be read. A device change is needed: call your branch.",
  },
};

const STORAGE_KEY = "language";

/**
 * "ja" or "en": that of the link that led here (?lang=), which is stored and leaves the address, so that a later choice
 * stays; else the stored choice, else the first language of the browser that is one of them, else "ja".
 */
export function initialLanguage() {
  const handedOver = new URLSearchParams(location.search).get("lang");
  if (handedOver !== null) history.replaceState(null, "", location.pathname);
  const wanted = [handedOver, storedLanguage(), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  const found = wanted.find((one) => one !== null && Object.hasOwn(TEXTS, one)) ?? "ja";
  if (found === handedOver) storeLanguage(found);
  return found;
}

function storedLanguage() {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null; // the browser may forbid storage
  }
}

/** Stores the chosen language, "ja" or "en". Where storage is forbidden, nothing happens. */
export function storeLanguage(language) {
  try {
    localStorage.setItem(STORAGE_KEY, language);
  } catch {
    // next time the page starts in the browser's language again
  }
}

/** The text of this name, its {places} filled from `values` (missing: ""). Throws TypeError if there is no such text. */
export function translate(language, name, values = {}) {
  return TEXTS[language][name].replace(/\{(\w+)\}/g, (_, place) => values[place] ?? "");
}
