"""What results are worth: predictions of a split, metrics, intervals, baselines."""
