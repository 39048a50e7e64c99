"""
What an administrator of the org decides, and what the control API sets at any time: how jobs run, and who may log in how.

The defaults let every stock client in. A setting that an org has off by default today (SOAP login, say) can be
switched off here to see what a client makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any


class BadSetting(ValueError):
    """There is no such setting, or not with this value; the message says what there is."""


@dataclass(slots=True)
class Settings:
    """The settings of one org. Reading and setting one is a single attribute access, so any thread may do either."""

    # How long a bulk job takes: the records of an ingest job are written at even distances within that time.
    bulk_processing_s: float = 0.0
    # A bulk ingest job fails as a whole after so many records, with this message; None: jobs do not fail by themselves.
    bulk_fail_after: int | None = None
    bulk_fail_message: str = "InternalServerError : An internal server error has occurred"
    # Whether the org has the API at all: without it, every call but those of signing in by OAuth is refused.
    api_enabled: bool = True
    # Whether the username-password flow of OAuth works: orgs block it by default since Summer '23.
    password_flow: bool = True
    # Whether an administrator has let the users use the connected app that asks with a JWT.
    app_approved: bool = True
    # How many objects may be selected for Change Data Capture, over all channels ("Change Data Capture Allocations").
    # Only new members are refused: the box starts with all of its objects selected, however many there are.
    cdc_entities_max: int = 5
    # How many changes of one transaction have events of their own; those beyond are one overflow event for each object.
    cdc_changes_max: int = 100_000
    # How often one call may update a record that it has updated before. An org takes 12 such updates in a call; with 0, a client
    # that means to name no record twice is found out at its first mistake.
    duplicate_updates_max: int = 12
    # Whether the update of a long text carries a diff in place of the value, where Change Data Capture may send one.
    text_diffs: bool = False
    # Whether no event tells that the records below a merged record are below another now: orgs have been seen to do so.
    merge_moves_untold: bool = False
    # Whether the caller's network is a trusted one: then a password needs no security token.
    trusted_network: bool = False
    # Whether SOAP login() works: off in orgs since Winter '26, and gone from API version 65 on.
    soap_login: bool = True
    # An exception code that every SOAP login is refused with, whatever it says.
    soap_fault: str | None = None
    # Whether the refresh token flow gives a new refresh token, and ends the old one.
    refresh_token_rotation: bool = False
    # How long a session lives without being used ("Session timeout", Salesforce Help: two hours by default).
    session_timeout_s: float = 2 * 3600
    # Whether a Pub/Sub stream ends when its access token is revoked. That it outlives a token that merely expires is
    # documented; what revocation does to it is not, so both can be had.
    revocation_ends_streams: bool = False
    # Whether the times of a JWT are compared with the org's clock, as a real org does, or with the machine's.
    jwt_by_org_clock: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As the control API shows them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def change(self, wanted: Mapping[str, Any]) -> None:
        """
        Set all of *wanted*, or nothing.

        Raises:
            BadSetting: A name that is none, or a value that the setting cannot have.
        """
        for name, value in wanted.items():
            if name not in _RULES:
                raise BadSetting(f"no setting {name!r}; there are {', '.join(_RULES)}")
            allowed, words = _RULES[name]
            if not allowed(value):
                raise BadSetting(f"{name} must be {words}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def reset(self) -> None:
        """Everything as it was at the start."""
        self.change(Settings().as_dict())


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _count(value: Any) -> bool:
    return value is None or _whole(value)


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


_SWITCH = (_switch, "true or false")
_WHOLE = (_whole, "a whole number, not negative")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "bulk_processing_s": (_seconds, "a number of seconds, not negative"),
    "bulk_fail_after": (_count, "a number of records, or null"),
    "bulk_fail_message": (lambda value: isinstance(value, str) and bool(value), "text"),
    "api_enabled": _SWITCH,
    "password_flow": _SWITCH,
    "app_approved": _SWITCH,
    "cdc_entities_max": _WHOLE,
    "cdc_changes_max": _WHOLE,
    "duplicate_updates_max": _WHOLE,
    "text_diffs": _SWITCH,
    "merge_moves_untold": _SWITCH,
    "trusted_network": _SWITCH,
    "soap_login": _SWITCH,
    "soap_fault": (lambda value: value is None or isinstance(value, str), "an exception code, or null"),
    "refresh_token_rotation": _SWITCH,
    "session_timeout_s": (_seconds, "a number of seconds, not negative"),
    "revocation_ends_streams": _SWITCH,
    "jwt_by_org_clock": _SWITCH,
}
