"""The claim ledger: what the book asserts, and the tests that decide it."""
