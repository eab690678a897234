"""Words of no language, and a little text, to draw pages of."""

from __future__ import annotations

from colpali_serve.training.text.documents import Document, Section

TEXT = "The printer takes its paper from the lower tray and warms up for half a minute. " * 20
DOCUMENTS = [Document("test", "Printing", (Section("Paper and trays", TEXT),))]
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
INVENTED = [a + b + c for a in SYLLABLES for b in SYLLABLES[::7] for c in SYLLABLES[::11]]
"""Words of no language, some held out and some not."""
