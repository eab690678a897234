"""How good a checkpoint is: real manuals, three kinds of queries, BM25 over the text beside."""
