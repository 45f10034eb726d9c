"""The exceptions for wrong data."""


class VIMHError(ValueError):
    """Bad data: a file, its metadata, a parameter or a recipe does not fit the VIMH format.

    The message names the file, what was expected, what was found, and the byte offset, the sample
    or the key where there is one.
    """


class ParameterError(VIMHError):
    """A parameter whose `key`, such as "step", does not fit, and what it must be."""

    def __init__(self, name: str, key: str, what: str, found: str) -> None:
        super().__init__(f"parameter {name!r}: '{key}' {what}, found {found}")
        self.key, self.what, self.found = key, what, found
