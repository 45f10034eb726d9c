"""Sources: what makes a missing data set."""
