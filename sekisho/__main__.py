"""``python -m sekisho``: the command line, for where the script ``sekisho`` is not on the PATH."""

from sekisho.cli import main

main()
