// The bank's name in both languages, the origin of its portal, the path of its logo; empty where there is none. The
// server fills it in.

export const BANK = "@BANK@";
