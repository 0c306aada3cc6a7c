"""Files of tokens and customers: text in; checked rows out, or every fault with its line, column and right form.

Pure: opens no file and no store, hashes nothing. What stands in a cell is never repeated, because cells slip: a seed
may stand where a token ID belongs.
"""

from otp_core.imports.customers import CustomerRow, read_customer, read_customers
from otp_core.imports.table import RowProblem
from otp_core.imports.tokens import TokenRow, read_tokens

__all__ = ["CustomerRow", "RowProblem", "TokenRow", "read_customer", "read_customers", "read_tokens"]
