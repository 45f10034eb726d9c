"""What a network is given: batches, and what each loss wants of a value."""
