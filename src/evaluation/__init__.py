"""A trained model scored, predicting and exported; tables and pictures of its results."""
