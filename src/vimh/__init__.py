"""The VIMH data set format: parameters, metadata, records and pickles. Needs numpy only."""
