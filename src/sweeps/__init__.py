"""Multiruns and sweeps: the storage of a study, and the table of the jobs."""
