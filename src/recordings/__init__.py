"""Importing sounds and images that somebody recorded, with their labels, as a VIMH data set."""
