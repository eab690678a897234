"""Sections of manual pages (roff) and of Perl's plain old documentation."""

from __future__ import annotations

import re

from colpali_serve.training.text.documents import Section, tidy

_HEADING = re.compile(r"^[.'](?:SH|SS|Sh|Ss)\s+(.*)$")
# Macros whose arguments are running text.
_INLINE = re.compile(r"^[.'](?:B|I|BR|IR|BI|IB|RB|RI|TP|IP|Nm|Nd|Xr|Fl|Ar|Pa|Em|Dq|Sq|It)\s+(.*)$")
_FONTS = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[-+]?\d+")
_NAMED = re.compile(r"\\\((..)|\\\[([^\]]*)\]|\\\*(?:\(..|\[[^\]]*\]|.)")
_CHARACTERS = dict.fromkeys(("aq", "cq", "oq"), "'")
_CHARACTERS |= {"lq": '"', "rq": '"', "em": "-", "en": "-", "bu": "-"}


def _plain(line: str) -> str:
    line = line.partition('\\"')[0]
    line = _FONTS.sub("", line)
    line = _NAMED.sub(lambda m: _CHARACTERS.get(m.group(1) or m.group(2) or "", " "), line)
    line = line.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").replace("\\ ", " ")
    return re.sub(r"\\[a-zA-Z]", "", line).replace("\\", "")


def roff_sections(roff: str) -> tuple[Section, ...]:
    r"""Headings and text of a manual page; layout macros and font changes are dropped.

    >>> roff_sections(".SH NAME\nls \\- list files\n.SH USE\n.B ls\nlists")
    (Section(heading='NAME', text='ls - list files'), Section(heading='USE', text='ls lists'))
    """
    found: list[Section] = []
    heading, lines = "", list[str]()
    for line in roff.splitlines():
        if match := _HEADING.match(line):
            if lines:
                found.append(Section(heading, tidy(" ".join(lines))))
            heading, lines = tidy(_plain(match.group(1)).replace('"', "")), []
        elif match := _INLINE.match(line):
            lines.append(_plain(match.group(1)).replace('"', ""))
        elif not line.startswith((".", "'")):
            lines.append(_plain(line))
    if lines:
        found.append(Section(heading, tidy(" ".join(lines))))
    return tuple(found)


def summary(sections: tuple[Section, ...]) -> str:
    """What a manual page says it is for, out of its NAME section, or an empty string.

    >>> summary((Section("NAME", "ls, dir - list directory contents"),))
    'list directory contents'
    """
    for section in sections:
        if section.heading.upper() == "NAME":
            return section.text.partition(" - ")[2].strip()
    return ""


_POD_CODE = re.compile(r"[A-Z]<+\s?([^<>]*?)\s?>+")


def pod_sections(pod: str) -> tuple[Section, ...]:
    r"""Headings and text of Perl's documentation format.

    >>> pod_sections("=head1 NAME\n\nA C<print>er.\n\n=cut")
    (Section(heading='NAME', text='A printer.'),)
    """
    found: list[Section] = []
    heading, lines = "", list[str]()
    for line in pod.splitlines():
        if line.startswith("=head"):
            if lines:
                found.append(Section(heading, tidy(_POD_CODE.sub(r"\1", " ".join(lines)))))
            heading, lines = tidy(_POD_CODE.sub(r"\1", line.partition(" ")[2])), []
        elif line.startswith("=item"):
            lines.append(line.partition(" ")[2])
        elif not line.startswith("="):
            lines.append(line)
    if lines:
        found.append(Section(heading, tidy(_POD_CODE.sub(r"\1", " ".join(lines)))))
    return tuple(section for section in found if section.text)
