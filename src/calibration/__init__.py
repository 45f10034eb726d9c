"""What a model knows of its own errors: intervals of its values, and sounds unlike its own."""
