"""Meaning beyond letters: words that stand for each other, and questions that use them."""
