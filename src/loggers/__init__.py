"""Loggers of metrics: TensorBoard, hyperparameters for every logger, metrics grouped by head."""
