"""Lightning callbacks and plugins: gradient statistics, progress bar, checkpoint files."""
