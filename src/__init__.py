"""AVIX: parameters of a synthesiser, read off the image of its sound."""
