"""How it learns: labels, crops, losses, stages, the training loop."""
