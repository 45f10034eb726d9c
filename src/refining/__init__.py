"""Analysis by synthesis: a synthesiser is fitted to a sound, from a network's values."""
