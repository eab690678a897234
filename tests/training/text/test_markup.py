"""Headings and text of HTML and its relatives, well formed or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.text.documents import Section
from colpali_serve.training.text.markup import sections


def test_html() -> None:
    found = sections(
        "<html><head><title>T</title><style>p {}</style></head><body>"
        "<nav><p>Home | Next</p></nav>"
        "<h1>Files &amp; folders</h1><p>Delete <b>one</b>.<br>Then&nbsp;another.</p>"
        "<ul><li>first</li><li>second</li></ul>"
        "<h2 class='x'>More</h2><table><tr><td>a</td><td>b</td></tr></table>"
        "<script>if (a < b) x('<h1>no</h1>')</script><footer>F</footer></body></html>"
    )
    assert found == (
        Section("Files & folders", "Delete one. Then another. first second"),
        Section("More", "a b"),
    )


def test_docbook_and_mallard() -> None:
    docbook = (
        "<?xml version='1.0'?><book><info><title>Not this</title></info>"
        "<section><title>Copy</title><para>Copy a <guilabel>file</guilabel>.</para></section>"
        "</book>"
    )
    assert sections(docbook) == (Section("Copy", "Copy a file."),)
    mallard = "<page><info><desc>no</desc></info><title>Print</title><p>Use paper.</p></page>"
    assert sections(mallard) == (Section("Print", "Use paper."),)


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("no markup at all", (Section("", "no markup at all"),)),
        ("", ()),
        ("<p>never closed <b>bold <i>and more", (Section("", "never closed bold and more"),)),
        ("</p></div></h1>closed too often", (Section("", "closed too often"),)),
        ("<h1>One<h2>Two</h2>text", (Section("One", ""), Section("Two", "text"))),
        ("<p>5 < 6 & 7 > 3</p>", (Section("", "5 < 6 & 7 > 3"),)),
        ("<nav>a<nav>b</nav>c</nav>d", (Section("", "d"),)),
        ("<script>x</script", ()),
        ("<h1>A</h1><img src=x/><p>b</p>", (Section("A", "b"),)),
        ("a<br/>b", (Section("", "a b"),)),
        ("<p>caf\u00e9 \u201cx\u201d</p>", (Section("", 'caf "x"'),)),
    ],
)
def test_malformed_markup_gives_what_can_be_read(
    markup: str, expected: tuple[Section, ...]
) -> None:
    assert sections(markup) == expected


def test_a_head_without_an_end_ends_where_the_body_begins() -> None:
    # HTML lets authors leave </head> out.
    html = "<html><head><title>T</title><meta charset=x><body><h1>Files</h1><p>Delete one.</p>"
    assert sections(html) == (Section("Files", "Delete one."),)


@given(st.text(alphabet="<>/abh1p&;!-\"' =", max_size=60))
def test_nothing_makes_it_fail(markup: str) -> None:
    for section in sections(markup):
        assert section.heading or section.text
