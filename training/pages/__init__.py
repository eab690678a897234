"""Pages drawn from text, with the place of every word: what the model learns to read from."""
