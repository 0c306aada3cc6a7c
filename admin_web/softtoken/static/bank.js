// The bank's name in both languages, and the origin of its portal; empty where there is none. The server fills it in.

export const BANK = "@BANK@";
