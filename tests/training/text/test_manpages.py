"""Sections of manual pages and of Perl's documentation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.text.documents import Section
from colpali_serve.training.text.manpages import pod_sections, roff_sections, summary

PAGE = r""".\" A comment
.TH LS 1 "May 2024"
.SH NAME
ls \- list directory contents
.SH "SEE ALSO"
.BR dircolors (1)
\fBbold\fR and \fIitalic\fP, \*(lqquoted\*(rq \(lqtoo\(rq, \[em]
.SS Sub section
.nf
'\" another comment
.Fl l
a line \" with a remark
it\(aqs
"""


def test_roff() -> None:
    assert roff_sections(PAGE) == (
        Section("NAME", "ls - list directory contents"),
        Section("SEE ALSO", 'dircolors (1) bold and italic, quoted "too", -'),
        Section("Sub section", "l a line it's"),
    )


def test_roff_without_headings_is_one_section() -> None:
    assert roff_sections("just text\n.br\nmore") == (Section("", "just text more"),)
    assert roff_sections("") == roff_sections(".TH A 1\n.SH\n") == ()


def test_summary_is_behind_the_dash_of_name() -> None:
    assert summary(roff_sections(PAGE)) == "list directory contents"
    assert summary((Section("Name", "ls - lists - all"),)) == "lists - all"
    assert summary((Section("NAME", "ls"),)) == summary(()) == ""


def test_pod() -> None:
    pod = (
        "=head1 NAME\n\nperl - B<practical> C<< extraction >>\n\n"
        "=head2 The E<lt> X\n\n=over 4\n\n=item * first\n\n=item second\n\ntext\n\n=back\n\n=cut\n"
    )
    name, second = pod_sections(pod)
    assert name == Section("NAME", "perl - practical extraction")
    assert second.heading.startswith("The")
    assert second.text == "* first second text"


def test_pod_sections_without_text_are_left_out() -> None:
    assert pod_sections("=head1 EMPTY\n\n=head1 FULL\n\nx\n") == (Section("FULL", "x"),)
    assert pod_sections("") == ()


@given(st.text(alphabet=".'\\f[](*BSHTP \nab\"-=head1<>", max_size=80))
def test_nothing_makes_them_fail(text: str) -> None:
    for section in (*roff_sections(text), *pod_sections(text)):
        assert section.text.isascii()
        assert "\n" not in section.text
