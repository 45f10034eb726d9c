"""What becomes of a trained model: it is scored, predicts, is exported; and what shows that."""
