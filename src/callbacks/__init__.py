"""Lightning callbacks: gradient statistics, progress bar, pictures, checkpoints, pruning."""
