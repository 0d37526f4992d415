"""Define the base class of the package's exceptions."""


class IconClassifierError(Exception):
    """Base class of the package's exceptions. The message says what is wrong, about which input, and what to do."""
