"""The API: JSON over HTTP for programs that have a key. It decides nothing: acts are the desk's."""
