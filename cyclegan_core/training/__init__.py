"""The training: the step in the paper's order, its state, and the loop."""
