"""What MkDocs does not know of this project's texts: `::` before code, arguments, options."""

import re
from typing import Any

PARAGRAPH = re.compile(r"<p>((?:(?!</?p>).)*)</p>", re.S)
OPTION = re.compile(r"<code>(--[\w-]+)</code>")
ARGUMENT = re.compile(r"^[\w`*, ]+? {2,}\S", re.M)


def on_page_content(html: str, **_: Any) -> str:
    """Keep the lines of paragraphs that list arguments; drop the marks before blocks of code.

    Options of commands become `<code class="option">`, which are not broken at their hyphens.
    """

    def shown(match: re.Match[str]) -> str:
        text = match[1]
        if text.strip() == "::":
            return ""
        if ARGUMENT.search(text) and "  " in text:
            return f'<p class="arguments">{text}</p>'
        return f"<p>{text.removesuffix('::')}{':' if text.endswith('::') else ''}</p>"

    return OPTION.sub(r'<code class="option">\1</code>', PARAGRAPH.sub(shown, html))
