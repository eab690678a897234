"""The small ColPali: its shape, its first weights, and its forward pass on parts of pages."""
