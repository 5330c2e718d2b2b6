"""HTML and Markdown from templates, with every value escaped.

render_html(Path(__file__).with_name("objects.html"), objects=objects)
Markdown("| {} | {:.1f} |").format(name, score)
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup as Markup

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


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Markdown(Markup):
    """Markdown; `format` and `join` escape other values to text on one line."""

    __slots__ = ()

    @classmethod
    def escape(cls, s: Any, /) -> Markdown:
        """Escape a value to one line of text without the meaning of markup, also within a table."""
        if isinstance(s, Markdown):
            return s
        text = s if isinstance(s, str) else json.dumps(s, ensure_ascii=False, default=str)
        text = html.escape(" ".join(text.split()), quote=False)
        return cls(re.sub(r"([\\|`\[\]*_~#!])", r"\\\1", text))
