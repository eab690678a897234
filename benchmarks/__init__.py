"""Measurements: ratios in one interleaved run, each script one table and one JSON file."""
