"""What results mean: reports, baselines."""
