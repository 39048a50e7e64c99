"""
Text that came from elsewhere, as it may be shown on a terminal.

Whoever may edit a field, or answers for a server, could else move the cursor, forge a line or turn the reading direction
of an operator's terminal. What cannot be seen is shown as Python writes it, and never sent.
"""

from __future__ import annotations

import json
import traceback
from typing import Final

# Python's errors that say nothing of what a record holds. Others quote it: KeyError, ValueError, an error of a driver or a parser.
_QUOTE_NOTHING: Final = (
    AssertionError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
)
_LIBRDKAFKA: Final = "cimpl"  # where its errors are from, which know codes and brokers only
_LOW: Final = 0x100
_BASIC: Final = 0x10000


def harmless(text: str, *, keep: str = "") -> str:
    """*text* with each character that is not printable (controls, reading directions, line ends) escaped, but for *keep*."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def harmless_sentences(text: str) -> str:
    """
    An error's text. Ours has each further fault in an indented line of its own; other line ends are not kept.
    """
    return "\n  ".join(map(harmless, text.split("\n  ")))


def harmless_error(error: BaseException) -> str:
    """An error's type, and its message if it is ours or quotes no value of a record."""
    kind, module = type(error).__name__, type(error).__module__
    is_ours = module.partition(".")[0] in ("salmon", _LIBRDKAFKA)
    if is_ours or (module == "builtins" and isinstance(error, _QUOTE_NOTHING)):
        return f"{kind}: {harmless(str(error))}"
    return f"{kind} (its message is left out, because it may quote a record)"


def harmless_traceback(error: BaseException) -> str:
    """Where an error came from, as Python tells it; only Python's own line ends are kept."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    told = [
        f"Traceback (most recent call last):\n{''.join(traceback.format_tb(each.__traceback__))}"
        f"{harmless_error(each)}"
        for each in reversed(chain)
    ]
    return "\nwhich led to\n".join(told)


def harmless_json(text: str) -> str:
    """JSON text that says the same, in one line and without anything that is not printable."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if known is not None:
        return known
    code = ord(character)
    return f"\\x{code:02x}" if code < _LOW else f"\\u{code:04x}" if code < _BASIC else f"\\U{code:08x}"
