"""Sounds and their images: synthesisers, spectrograms, derived channels, generating data sets."""
