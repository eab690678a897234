"""Runs the command line of training."""

from colpali_serve.training.cli import app

app()
