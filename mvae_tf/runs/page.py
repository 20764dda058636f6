"""The HTML of a report: a page with its style, sections, notes and tables.

A page is one file without scripts, which needs no network. It is made for screens of
any width, for paper, and for light and dark themes.
"""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = [
    "Marked",
    "anchor",
    "document",
    "escape",
    "note",
    "quiet",
    "section",
    "table",
]

# On a narrow screen, the cells of a wide table stand below each other.
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --paper: #fff;
  --line: #e4e8ec; --box: #f4f6f8; --mark: #b34700; --link: #0a5dc2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #a3adb8;
  --paper: #16191d; --line: #30363d; --box: #21262c; --mark: #ff9d5c;
  --link: #7db8ff; } }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink);
  -webkit-text-size-adjust: 100%; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 0 auto;
  padding: 2.5rem 1.25rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
nav ul, .files { list-style: none; margin: 1rem 0; padding: 0; display: flex;
  flex-wrap: wrap; align-items: baseline; gap: .25rem 1.25rem; }
nav a, .files a { display: inline-block; padding: .25rem 0; }
.quiet, figcaption { color: var(--quiet); font-size: .9rem; }
.note { border-left: 3px solid var(--mark); padding-left: .75rem; }
.mark { color: var(--mark); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line); white-space: pre-line; }
th { font-weight: 600; }
table + table { margin-top: 1.5rem; }
.plain :is(th, td:not(:first-child)) { overflow-wrap: normal; }
figure { margin: 0 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; background: #fff;
  border-radius: 6px; }
figcaption { margin: .4rem 0 0; max-width: 46rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
pre { background: var(--box); padding: .8rem 1rem; border-radius: 6px;
  white-space: pre-wrap; font-size: .85rem; }
@media (min-width: 40.01rem) { .wide td:first-child { min-width: 17rem; } }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; }
  td:first-child { min-width: 6rem; }
  table.wide, .wide tbody, .wide tr, .wide td { display: block; }
  .wide tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .wide tr:has(th) { display: none; }
  .wide td { border: 0; padding: 0; }
  .wide td:empty { display: none; }
  .wide td:first-child { font-weight: 600; }
  .wide td[data-head]:not(:first-child)::before { content: attr(data-head) ": ";
    color: var(--quiet); }
}
@media print { details:not([open]) > *:not(summary) { display: block; } }
"""


def document(title: str, body: str) -> str:
    """Return the text of an HTML file.

    Args:
        title: str, title of the page, a plain text.
        body: str, HTML of everything that the page shows.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    """Return a section with a heading, to which `anchor` links.

    Args:
        title: str, heading, a plain text.
        *parts: str, HTML of what stands below it.
    """
    heading = f'<section id="{anchor(title)}">\n<h2>{escape(title)}</h2>'
    return "\n".join([heading, *parts, "</section>"])


def anchor(title: str) -> str:
    """Return the name by which links find the section with this title."""
    return title.lower().replace(" ", "-")


def note(text: str) -> str:
    """Return a paragraph that stands out, such as a warning."""
    return f'<p class="note">{escape(text)}</p>'


def quiet(text: str) -> str:
    """Return a paragraph in small grey letters."""
    return f'<p class="quiet">{escape(text)}</p>'


class Marked(NamedTuple):
    """Text of a cell, and why it is not to be trusted or compared.

    Attributes:
        text: str, what the cell shows.
        reason: str, a few words, which are shown beside it with the mark (!).
    """

    text: str
    reason: str


def table(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[Any]],
    kind: str = "wide",
) -> str:
    """Return a table of texts, which keep their line breaks.

    Args:
        header: list of str, names of the columns, or None.
        rows: list of rows of cells, each a text or a `Marked` text. Without rows, there
            is no table, and the result is an empty text.
        kind: "wide" for a table whose cells stand below each other on a narrow screen,
            "plain" for one of short words and numbers that do not break, "" for others.
    """
    if not rows:
        return ""
    lines = []
    if header is not None:
        cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
        lines.append(f"<tr>{cells}</tr>")
    for row in rows:
        heads = [""] * len(row) if header is None else header
        cells = "".join(map(_cell, row, heads))
        lines.append(f"<tr>{cells}</tr>")
    return f'<table class="{kind}">\n' + "\n".join(lines) + "\n</table>"


def _cell(cell, head):
    name = f' data-head="{escape(head)}"' if head else ""
    if isinstance(cell, Marked):
        mark = f'<span class="mark"> (!) {escape(cell.reason)}</span>'
        return f"<td{name}>{escape(cell.text)}{mark}</td>"
    return f"<td{name}>{escape(cell)}</td>"


def escape(value: Any) -> str:
    """Return the text of a value with the characters that HTML reserves replaced."""
    return html.escape(str(value))
