"""Conventions for messages, independent of their wording."""

from sparkle_app.model.errors import ConfigurationError


def is_part_of_a_line(text: str) -> bool:
    """Whether a text can follow a colon: one line that starts without a capital and contains no ``None``."""
    return bool(text) and not text[0].isupper() and "\n" not in text and "None" not in text


def is_complete(error: ConfigurationError) -> bool:
    """Whether an error states where, what was expected, what was found and what to do."""
    return (
        bool(error.where)
        and "None" not in f"{error.where}{error.found}"
        and is_part_of_a_line(error.expected)
        and is_part_of_a_line(error.hint)
    )
