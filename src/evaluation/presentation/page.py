"""A report as one HTML file: it holds its pictures and sounds, and asks nobody for anything."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markdown import markdown

# No script runs and nothing is loaded, whatever names of parameters or a config contain.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 78rem; margin: 0 auto; padding: 1rem;
  background: Canvas; color: CanvasText; }
p, ul, ol { max-width: 60rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; overflow-wrap: anywhere; }
table { display: block; width: fit-content; max-width: 100%; overflow-x: auto; font-size: .93rem;
  border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid color-mix(in srgb, CanvasText 25%, Canvas);
  text-align: left; }
td:first-child { min-width: 7.5rem; } th[style], td[style] { white-space: nowrap; }
li, td:not([style]):not(:first-child) { overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; background: white; border-radius: 4px; }
audio { width: 13rem; max-width: 60vw; height: 2.2rem; vertical-align: middle; }
pre { overflow-x: auto; padding: .7rem; font-size: .8rem;
  background: color-mix(in srgb, CanvasText 7%, Canvas); }
@media (max-width: 40rem) { body { padding: .7rem; } table { font-size: .85rem; }
  th, td { padding: .3rem .4rem; } audio { width: 9rem; } }
"""
LINK = re.compile(r'<img alt="([^"]*)" src="([^"]*)" />|<a href="([^"]*)">([^<]*)</a>')
TYPES = {".png": "image/png", ".wav": "audio/wav"}


def write_page(path: Path, title: str, lines: Sequence[str], files: Sequence[str]) -> None:
    """Write a Markdown report as one HTML file, with its pictures and sounds in it.

    Args:
        path: Where to; the files lie below its folder.
        title: Of the window.
        lines: The report.
        files: What it shows (PNG) and plays (WAV), as the report names them. Links to anything
            else are left out.
    """
    content = {name: _data(path.parent / name) for name in files}
    body = markdown("\n".join(lines), extensions=["tables"])
    page = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        LINK.sub(lambda found: _inlined(found, content), body),
        "</body>\n</html>\n",
    ]
    path.write_text("\n".join(page), encoding="utf-8")


def _data(path: Path) -> str:
    text = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{TYPES[path.suffix]};base64,{text}"


def _inlined(found: re.Match[str], content: Mapping[str, str]) -> str:
    """Return a picture or a player with its data; of a link that is not ours the text alone."""
    about, picture, sound, label = found.groups()
    if picture in content:
        return f'<img alt="{about}" src="{content[picture]}">'
    if sound in content:
        return f'<audio controls title="{label}" src="{content[sound]}"></audio>'
    return label or about or ""


def markdown_cell(text: str) -> str:
    r"""Return a text for a cell of a Markdown table: it makes no tag, no link and no column.

    Example:
        >>> print(markdown_cell("a|b [c](d) <e>"))
        a\|b \[c\](d) &lt;e&gt;
    """
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escaped)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, of which all columns but the first stand at the right.

    Args:
        headings: Of the columns.
        rows: Cells, a text each.
    """
    lines = [headings, *rows]
    written = [f"| {' | '.join(markdown_cell(cell) for cell in line)} |" for line in lines]
    return [written[0], f"|---|{'---:|' * (len(headings) - 1)}", *written[1:]]
