"""The base of the exceptions that this package raises."""


class IconClassifierError(Exception):
    """An error whose message is a sentence for the user: what is wrong, about which input, and what to do."""
