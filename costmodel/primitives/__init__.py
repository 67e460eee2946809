"""Primitives of a schedule that few methods need; a command imports those that it is given."""
