"""HTML in which every text is escaped."""

from html import escape
from typing import Final

_VOID: Final = {"br", "col", "hr", "img", "input", "link", "meta", "wbr"}


class Markup(str):
    """HTML, made by :func:`el` only."""

    __slots__ = ()


Child = str | None
Attribute = str | bool | None


def el(tag: str, attributes: dict[str, Attribute] | None = None, *children: Child) -> Markup:
    """An element.

    Arguments:
        attributes: by name; True: without a value; None and False: left out. None of them may be a script or a style.
        children: elements, and texts, which are escaped; None is left out.
    """
    texts = [
        f" {name}" if value is True else f' {name}="{escape(value)}"'
        for name, value in (attributes or {}).items()
        if value is not None and value is not False
    ]
    start = f"<{tag}{''.join(texts)}>"
    if tag in _VOID:
        return Markup(start)
    content = "".join(
        each if isinstance(each, Markup) else escape(each, quote=False) for each in children if each
    )
    return Markup(f"{start}{content}</{tag}>")


def page(language: str, title: str, style: str, *body: Child) -> bytes:
    """An HTML document.

    Arguments:
        language: of its text, such as ``en``.
        style: URL of the style sheet.
        body: content of the element ``main``.
    """
    head = el(
        "head",
        None,
        el("meta", {"charset": "utf-8"}),
        el("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        el("meta", {"name": "color-scheme", "content": "light dark"}),
        el("title", None, title),
        # Otherwise browsers ask for /favicon.ico.
        el("link", {"rel": "icon", "href": "data:,"}),
        el("link", {"rel": "stylesheet", "href": style}),
    )
    document = el("html", {"lang": language}, head, el("body", None, el("main", None, *body)))
    return f"<!doctype html>\n{document}\n".encode()
