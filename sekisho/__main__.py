"""``python -m sekisho``: the command line, where the script ``sekisho`` is not on the path."""

from sekisho.cli import main

main()
