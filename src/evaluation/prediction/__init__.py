"""From a sound to its parameters, and back."""
