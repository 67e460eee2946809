"""Names of test cases."""


def brief(value: object) -> str:
    """Name a case by its text, on one line."""
    return " ".join(value.split())[:48] if isinstance(value, str) else str(value)
