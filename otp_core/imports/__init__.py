"""Parses files of tokens and customers: lines in; checked rows and problems with line, column and right form out. No
message repeats a cell, because a seed may be in the column of the token ID by mistake.

What is named here is pure: it opens no file and no store, and hashes nothing. ``importers`` checks rows against the
store and writes them, ``run`` takes a whole file through that.
"""

from otp_core.imports.customers import CustomerRow, check_customer, read_customer, read_customers
from otp_core.imports.encodings import encoding_named, encoding_of, foreign_form, lines_of
from otp_core.imports.table import RowProblem
from otp_core.imports.token_ids import TokenIdRow, read_token_ids
from otp_core.imports.tokens import TokenRow, read_tokens

__all__ = [
    "CustomerRow",
    "RowProblem",
    "TokenIdRow",
    "TokenRow",
    "check_customer",
    "encoding_named",
    "encoding_of",
    "foreign_form",
    "lines_of",
    "read_customer",
    "read_customers",
    "read_token_ids",
    "read_tokens",
]
