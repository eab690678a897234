"""Jina Executors: thin adapters between documents and the engine.

The modules are imported one by one (`colpali_serve.executors.encoder`, `.ranker`), so that a
ranker's process does not load torch.
"""
