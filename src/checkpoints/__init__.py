"""Checkpoint files and run folders: written whole, read as data, checked before a run goes on."""
