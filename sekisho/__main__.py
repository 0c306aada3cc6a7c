"""``python -m otp_core``: the command line, where the script ``sekisho`` is not on the path."""

from otp_core.cli import main

main()
