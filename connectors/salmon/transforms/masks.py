"""
Masks: what one side gets instead of a field's value. The field is then one-way to that side.

A mask is a function of the value alone, so equal values stay equal where the mask says so (a hash), and null stays null.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.change import SALESFORCE, Value
from salmon.model.convert import from_text
from salmon.model.schema import FieldSchema, Kind

How = Literal["redact", "hash", "keep_last", "replace"]
Masked = Callable[[Value], Value]

REDACTED: Final = "***"
_STAR: Final = "*"
_HASH_CHARS: Final = 64
# RFC 2104, section 3: a key shorter than the hash's output weakens it; 16 bytes is the least that nobody can guess.
KEY_BYTES_MIN: Final = 16
# What Kafka Connect's MaskField puts in the place of a value if nothing else is said (Apache Kafka, MaskField.java).
_NEUTRAL: Final = {
    Kind.BOOLEAN: False,
    Kind.INT: 0,
    Kind.LONG: 0,
    Kind.DOUBLE: 0.0,
    Kind.DATE: 0,
    Kind.DATETIME: 0,
    Kind.TIME: 0,
}


@dataclass(frozen=True, slots=True)
class Mask:
    """How fields are masked, as it is configured."""

    fields: tuple[str, ...]
    how: How = "redact"
    keep: int = 4  # keep_last: how many characters stay
    key: bytes = field(default=b"", repr=False)  # hash
    replacement: str | None = None  # replace; None: a neutral value of the type

    @property
    def fingerprint(self) -> str:
        """Differs if the mask gives other values. The key cannot be found from it."""
        key = hmac.new(self.key, b"salmon mask", hashlib.sha256).hexdigest() if self.key else ""
        return f"{self.how}:{self.keep}:{key}:{self.replacement}"


def masked(mask: Mask, of: FieldSchema, side: str) -> Masked:
    """
    Return the function that masks one field for one side.

    Raises:
        ConfigError: a field of this type cannot be masked like this; a sentence that follows on the key.
    """
    if of.reference_to:
        raise ConfigError(
            f"masks {of.name}, which refers to another record: masked, it would refer to none. Exclude the field instead"
        )
    if side == SALESFORCE and not of.settable:
        raise ConfigError(
            f"masks {of.name} for Salesforce, which does not let anybody set it: remove it here"
        )
    match mask.how:
        case "replace":
            return _replaced(mask, of)
        case "redact":
            made = REDACTED if of.kind is Kind.STRING else None
            if side == SALESFORCE and made is not None:
                _require_text(of, len(made))
            return lambda value: None if value is None else made
    if of.kind is not Kind.STRING:
        raise ConfigError(
            f"masks {of.name} by {mask.how}, which gives a text, but {of.name} is a {of.type} ({of.kind.value}). Use redact,"
            f" which leaves it out"
        )
    if side == SALESFORCE:
        _require_text(of, _HASH_CHARS if mask.how == "hash" else 0)
    if mask.how == "hash":
        return lambda value: None if value is None else _hash(mask.key, str(value))
    return lambda value: None if value is None else _last(str(value), mask.keep)


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _last(text: str, keep: int) -> str:
    """Stars, and the last characters. A text that has no more than these is masked as a whole."""
    shown = text[-keep:] if keep and len(text) > keep else ""
    return _STAR * (len(text) - len(shown)) + shown


def _replaced(mask: Mask, of: FieldSchema) -> Masked:
    if mask.replacement is None:
        made: Value = _NEUTRAL.get(of.kind)
    else:
        try:
            made = from_text(of, mask.replacement)
        except SchemaMismatch as error:
            raise ConfigError(f"replaces {of.name} by a value that is not of its type: {error}") from None
    return lambda value: None if value is None else made


def _require_text(of: FieldSchema, chars: int) -> None:
    """Refuse a masked text where Salesforce would refuse it in each record."""
    if of.type not in {"string", "textarea", "combobox"} or (of.length and of.length < chars):
        raise ConfigError(
            f"masks {of.name} for Salesforce, but Salesforce takes no masked text in a field of type {of.type}"
            f"{f' and {of.length} characters' if of.length else ''}. Exclude the field instead"
        )
