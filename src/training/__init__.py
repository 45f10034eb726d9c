"""Lightning's trainer with its callbacks, loggers and profiler, built from their configs."""
