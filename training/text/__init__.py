"""Text that pages are filled with, out of the documentation that Debian packages carry."""
