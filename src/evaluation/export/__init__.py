"""A model as files for elsewhere."""
