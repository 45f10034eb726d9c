"""The errors that a user can do something about, apart from those of data (``VIMHError``)."""


class ConfigError(ValueError):
    """A config or an argument is wrong; the message says key, expected, found and what to do."""


class CheckpointError(ValueError):
    """A checkpoint can not be written or read; the message names the path and the reason."""
