"""Multiruns and sweeps: the storage of a study, the table of the jobs, and what cannot work."""
