"""The staff's console: who signs in, what each role may do, the pages. An internal network's, never the customers'."""
