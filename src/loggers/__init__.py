"""Where metrics go: TensorBoard, hyperparameters for every logger, metrics grouped by head."""
