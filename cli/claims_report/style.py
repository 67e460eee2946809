"""The report's style sheet: readable on screens of any width, in print and without colour."""

from __future__ import annotations

from .content import slug
from .picture import COLOURS

_BASE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; color: #1a1a1a;
  background: #fff; font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.4rem; margin: 2.6rem 0 .6rem; border-bottom: 2px solid #1a1a1a; }
h3 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 46rem; }
a { color: #004a80; }
a:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
.lead, figcaption, .tally, .small { color: #4a4a4a; }
.small, figcaption { font-size: .9em; }
figure { margin: 1.5rem 0 2rem; }
figure svg { width: 100%; max-width: 56rem; height: auto; display: block;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .6rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .55rem;
  border-bottom: 1px solid #d5d5d5; overflow-wrap: break-word; }
thead th { border-bottom: 2px solid #555; background: #f4f4f4; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.claim { width: 19%; } td.why { width: 45%; }
td p { margin: 0 0 .35rem; max-width: none; }
tbody th .small, tbody th .id { font-weight: 400; }
a.small { color: #004a80; }
.verdict { display: inline-block; border-left: .45rem solid; padding-left: .4rem;
  font-weight: 600; }
nav ul { columns: 15rem; padding-left: 1.1rem; }
.id { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85em; color: #4a4a4a; }
"""
_NARROW = """\
@media screen and (max-width: 48rem) {
  table.claims, table.claims caption, table.claims tbody, table.claims tr, table.claims td,
  table.claims th { display: block; width: auto; }
  table.claims thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  table.claims tr { border: 1px solid #bbb; margin: 0 0 .8rem; padding: .3rem .5rem; }
  table.claims td, table.claims tbody th { border: 0; padding: .2rem 0; text-align: left;
    white-space: normal; }
  table.claims td::before { content: attr(data-label) ": "; font-weight: 600; color: #4a4a4a; }
}
"""
_PRINT = """\
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  table { font-size: 7.5pt; }
  thead { display: table-header-group; }
  tr, figure { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  a { color: inherit; text-decoration: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  @page { size: A4 landscape; margin: 12mm; }
}
"""


def style_sheet() -> str:
    """Return the rules, with a mark in its own colour for each verdict."""
    marks = "".join(
        f".{slug(name)} {{ border-color: {colour}; }}\n" for name, colour in COLOURS.items()
    )
    return _BASE + marks + _NARROW + _PRINT
