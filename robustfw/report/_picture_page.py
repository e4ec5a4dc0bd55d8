"""A page of adversarial examples beside their originals: one file, with the pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import attrs

SHOWN = 200
"""Examples that a page shows, so that a browser can open it."""
STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #777; --line: #ddd; --paper: #fff; --card: #fafafa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --faint: #a0a0a0; --line: #3a3a3a; --paper: #161616; --card: #1f1f1f; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 76rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; max-width: 60rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; }
h2 { font-size: .95rem; font-weight: 600; margin: 0 0 .5rem; }
div { display: grid; grid-template-columns: repeat(3, 1fr); gap: .5rem; }
figure { margin: 0; }
img { width: 100%; image-rendering: pixelated; border: 1px solid var(--line); display: block; }
figcaption { font-size: .8rem; color: var(--faint); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; display: block; }
"""


@attrs.frozen
class PictureCard:
    """One example on the page: three pictures with words below each."""

    title: str
    pictures: tuple[bytes, bytes, bytes]
    """PNG files: original, difference, adversarial."""
    before: str
    """What the net says of the original."""
    difference: str
    """How the difference is drawn."""
    after: str
    """What the net says of the adversarial file."""


def picture_page(
    title: str, sentences: Sequence[str], cards: Sequence[PictureCard]
) -> str:
    """The page, as HTML that needs no other file.

    Args:
        title: the heading.
        sentences: what was measured, a paragraph each.
        cards: the examples, of which the first `SHOWN` are on the page.
    """
    paragraphs = [f"<p>{escape(sentence)}</p>" for sentence in sentences]
    if len(cards) > SHOWN:
        paragraphs.append(
            f"<p>The first {SHOWN} of {len(cards)} examples are shown; the files have all of them.</p>"
        )
    articles = [_article(card) for card in cards[:SHOWN]]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>",
            f"<h1>{escape(title)}</h1>",
            *paragraphs,
            "<main>",
            *articles,
            "</main>\n</html>\n",
        ]
    )


def _article(card: PictureCard) -> str:
    """One example as HTML."""
    figures = []
    names = ("original", "difference", "adversarial")
    words = (card.before, card.difference, card.after)
    for name, text, png in zip(names, words, card.pictures, strict=True):
        data = base64.b64encode(png).decode()
        figures.append(
            f'<figure><img alt="{name} of {escape(card.title)}" src="data:image/png;base64,{data}">'
            f"<figcaption><b>{name}</b>{escape(text)}</figcaption></figure>"
        )
    return (
        f"<article><h2>{escape(card.title)}</h2><div>{''.join(figures)}</div></article>"
    )
