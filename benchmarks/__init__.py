"""Speed and memory against the budgets: `make bench`."""
