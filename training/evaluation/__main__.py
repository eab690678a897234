"""`python -m colpali_serve.training.evaluation`."""

from colpali_serve.training.evaluation.cli import app

if __name__ == "__main__":
    app()
