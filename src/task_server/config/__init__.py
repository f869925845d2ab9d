"""What the operator can say: the model, the parsers of its values, and where they come from."""
