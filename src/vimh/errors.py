"""The one exception type for everything that is wrong with data."""


class VIMHError(ValueError):
    """Bad data: a file, its metadata, a parameter or a recipe does not fit the VIMH format.

    The message names the file, what was expected, what was found, and the byte offset, the sample
    or the key where there is one.
    """
