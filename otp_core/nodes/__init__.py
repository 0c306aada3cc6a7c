"""The nodes: each running `sekisho serve` on one store, with its name, its signs of life and its clock."""
