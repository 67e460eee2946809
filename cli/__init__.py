"""The `tokencost` command."""
