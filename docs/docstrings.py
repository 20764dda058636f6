r"""Conversion of docstrings, which are plain text, into reStructuredText.

Equations and tables, which are indented or drawn with `|`, become literal blocks. Text
in backticks becomes code. Characters that reStructuredText would read as markup, such
as the bar of p(x | z) or the star of a * b, are escaped.
"""

import re

__all__ = ["process", "restructured"]

_SECTION = re.compile(
    r"^(Args|Arguments|Attributes|Example|Examples|Raises|Returns|Yields):$"
)
_MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?=\W|$)")


def process(app, what, name, obj, options, lines):
    """Handle the event `autodoc-process-docstring`: change `lines` in place."""
    lines[:] = restructured(lines)


def restructured(lines):
    """Rewrite a docstring in Google style so that it is valid reStructuredText.

    Args:
        lines: lines of the docstring, without the common indentation.

    Returns:
        The new lines.
    """
    made, text = [], _Text()
    in_section = in_block = False
    previous = ""
    for line in lines:
        if not line.strip():
            made.append("")
            text = _Text()
        elif _SECTION.match(line):
            in_section, in_block = True, False
            made.append(line)
        elif line.lstrip().startswith((">>>", "... ")):
            made.append(line)
        elif not in_section and line.startswith(("    ", "|")):
            if not in_block and previous.strip():  # a list's second line
                made.append(text.escaped(line))
            else:
                made += [] if in_block else ["::", ""]
                in_block = True
                made.append("    " + line)
        else:
            if in_block and not in_section:
                made += [""] if previous.strip() else []
                in_block = False
            made.append(text.escaped(line, in_section))
        previous = line
    return made


class _Text:
    """Running text, in which code may begin on one line and end on the next."""

    def __init__(self):
        self._in_code = False

    def escaped(self, line, in_section=False):
        # Napoleon itself escapes the stars of an argument's name; lists keep theirs.
        head = re.match(r"^\s*([-*]\s|\d+\.\s)?", line)[0]
        if in_section and (name := re.match(r"^\s+\*{1,2}\w+:", line)):
            head = name[0]
        made = [head]
        rest = line[len(head) :]
        for i, part in enumerate(re.split(r"`{1,2}", rest)):
            if i:
                made.append(self._tick(made[-1], part))
                self._in_code = not self._in_code
            made.append(part if self._in_code else _MARKUP.sub(r"\\\g<0>", part))
        return "".join(made)

    def _tick(self, before, after):
        """Return the mark of code, separated from letters that touch it outside."""
        if self._in_code:
            return "``\\ " if after[:1].isalnum() else "``"
        return "\\ ``" if before[-1:].isalnum() else "``"
