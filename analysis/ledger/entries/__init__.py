"""One yaml an entry of the ledger, and beside it the module that measures it."""
