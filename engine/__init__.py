"""Load and prove a checkpoint, decode pages, embed, pool and score; usable without Jina."""
