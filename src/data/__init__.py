"""Data sets as batches: torch and Lightning on top of `src.vimh`."""
