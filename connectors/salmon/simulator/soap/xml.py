"""Reading of SOAP requests by the local names of their elements: every client has prefixes of its own."""

from __future__ import annotations

from xml.etree.ElementTree import Element


def local(tag: str) -> str:
    """The name without its namespace."""
    return tag.rpartition("}")[2]


def children(element: Element | None, name: str) -> list[Element]:
    """All children of this name."""
    return [each for each in (() if element is None else element) if local(each.tag) == name]


def child(element: Element | None, name: str) -> Element | None:
    """The first child of this name."""
    return next(iter(children(element, name)), None)


def text(element: Element | None, *names: str) -> str:
    """The text at the end of a path of names; empty if there is none."""
    for name in names:
        element = child(element, name)
    return "" if element is None else element.text or ""
