"""Who knows a token's codes."""
