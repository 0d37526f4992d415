"""Define the base class of the package's exceptions, and the exception for settings."""


class IconClassifierError(Exception):
    """Base class of the package's exceptions. The message says what is wrong, about which input, and what to do."""


class SettingsError(IconClassifierError, ValueError):
    """A setting of train.ipynb cannot be used. The message says why and what to do."""
