"""Kinds of pages. Each module draws one kind on a canvas, with a wording and fonts of its own."""
