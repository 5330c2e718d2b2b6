"""HTML and Markdown from templates; every value is shown as text, whatever it contains.

render_html(Path(__file__).with_name("objects.html"), objects=objects)
Markdown("| {} | {:.1f} |").format(name, score)
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

from markupsafe import Markup as Markup
from markupsafe import escape

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(template: Path, **values: Any) -> Markup:
    """Fill a Jinja2 template.

    Args:
        template: A file of the package. It may extend `page.html`: a page that needs no other file,
            and whose policy allows its own style and embedded images alone, no script.
        **values: What the template names. All are escaped but `Markup`.

    Raises:
        jinja2.UndefinedError: The template names a value that is not given.
    """
    return Markup(_templates(template.parent).get_template(template.name).render(values))  # noqa: S704


@cache
def _templates(folder: Path) -> Environment:
    # Imported here: only pages need it, and every command starts faster without.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["source_hash"] = source_hash
    return environment


_WITHOUT_END = frozenset({"img", "meta", "wbr", "br"})
_ADDRESSES = ("data:image/", "#")
"""How addresses in a page may begin: they name pictures inside it, or its own places."""


def element(name: LiteralString, /, *content: Any, **attributes: Any) -> Markup:
    """An HTML element.

    Args:
        *content: Elements, and values shown as text; None is nothing, an iterable is what it holds.
        **attributes: Values, escaped and in quotes; None and False leave the attribute out. An
            ending underscore is dropped, and others are dashes: `class_`, `aria_label`.

    Raises:
        InputError: For an address that leads out of the page.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    start = f"<{name}{said}>"
    inner = "".join(_pieces(content))
    if name in _WITHOUT_END:
        return Markup(start)  # noqa: S704
    return Markup(f"{start}{inner}</{name}>")  # noqa: S704


def joined(content: Iterable[Any], between: str = "") -> Markup:
    """Elements and values one after another."""
    return escape(between).join(_pieces(content))


def page(*, title: str, style: LiteralString, body: Iterable[Any]) -> str:
    """A whole page that needs nothing else, and in which no script runs.

    Its policy allows this style, pictures inside the page, and nothing more.
    """
    policy = f"default-src 'none'; img-src data:; style-src {source_hash(style)}; "
    policy += "base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup("<style>{}</style>").format(Markup(style)),  # noqa: S704
    )
    whole = element("html", head, "\n", element("body", "\n", *body, "\n"), lang="en")
    return f"<!doctype html>\n{whole}\n"


def source_hash(text: str) -> str:
    """How a content security policy names a script or style inside a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Markdown(Markup):
    """Markdown; `format` and `join` escape what is none, to text in one line."""

    __slots__ = ()

    @classmethod
    def escape(cls, s: Any, /) -> Markdown:
        """A value as one line of text that cannot break out of a table, nor mean anything."""
        if isinstance(s, Markdown):
            return s
        text = s if isinstance(s, str) else json.dumps(s, ensure_ascii=False, default=str)
        text = html.escape(" ".join(text.split()), quote=False)
        return cls(re.sub(r"([\\|`\[\]*_~#!])", r"\\\1", text))


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if name in ("src", "href") and not str(value).startswith(_ADDRESSES):
        raise InputError(f"{name} {str(value)[:40]!r}: leads out of the page")
    return f' {name}="{escape(value)}"'


def _pieces(content: Iterable[Any]) -> Iterable[Markup]:
    for piece in content:
        if piece is None:
            continue
        if isinstance(piece, Iterable) and not isinstance(piece, str):
            yield from _pieces(piece)
        else:
            yield escape(piece)
