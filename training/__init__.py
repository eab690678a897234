"""How the bundled checkpoint is made: text, fonts, pages, model, losses, stages, evaluation."""
