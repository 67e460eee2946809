"""The `tokencost` command; `__main__` is its entry."""
