"""Sections of HTML, DocBook and Mallard files, all by one tolerant parser."""

from __future__ import annotations

from html.parser import HTMLParser

from colpali_serve.training.text.documents import Section, tidy

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "title"})
_SKIPPED = frozenset(
    {"head", "header", "aside", "script", "style", "nav", "info", "footer", "svg", "form", "button"}
    | {"noscript"}
)
# Elements that may end without a closing tag, or that never have one.
_VOID = frozenset(
    {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_BLOCKS = frozenset({"p", "para", "li", "td", "th", "dt", "dd", "pre", "item", "div", "tr", "br"})


class _Sections(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = []
        self._heading: list[str] = []
        self._text: list[str] = []
        self._in_heading = False
        self._skipped: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":  # HTML lets authors leave </head> out
            self._skipped.clear()
        if self._skipped:
            if tag == self._skipped[-1]:
                self._skipped.append(tag)
            return
        if tag in _SKIPPED:
            self._skipped.append(tag)
        elif tag in _HEADINGS:
            self.flush()
            self._in_heading = True
        elif tag in _BLOCKS:
            self._text.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID and not self._skipped:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            if tag == self._skipped[-1]:
                self._skipped.pop()
            return
        if tag in _HEADINGS:
            self._in_heading = False
        elif tag in _BLOCKS:
            self._text.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            (self._heading if self._in_heading else self._text).append(data)

    def flush(self) -> None:
        heading, text = tidy("".join(self._heading)), tidy("".join(self._text))
        if heading or text:
            self.sections.append(Section(heading, text))
        self._heading, self._text = [], []


def sections(markup: str) -> tuple[Section, ...]:
    """Headings and the text below them.

    >>> sections("<h1>Files</h1><p>Delete <b>one</b>.</p><script>x()</script><h2>More</h2>")
    (Section(heading='Files', text='Delete one.'), Section(heading='More', text=''))
    """
    parser = _Sections()
    parser.feed(markup)
    parser.close()
    parser.flush()
    return tuple(parser.sections)
