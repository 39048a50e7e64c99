"""
The org: does it let us in, may the user do what a sync does, does its allowance suffice, and does its clock agree with ours.

What is asked of each synced object is in salmon.doctor.objects.
Sources: Object Reference, "UserPermissionAccess", "Organization", "ObjectPermissions"; REST API Developer Guide, "Versions",
"Limits"; Change Data Capture Developer Guide, "Change Data Capture Allocations", "Required Permissions".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from salmon.config.models import ObjectConfig, SyncConfig
from salmon.doctor.checks import Check, Line, fail, ok, told_by, warn
from salmon.errors import RequestRejected
from salmon.salesforce.catalog import calls_a_day, is_polled
from salmon.salesforce.wire.administration import (
    CHANNEL,
    RIGHTS,
    SELECTED_DEFAULT_MAX,
    Administration,
    event_of,
)
from salmon.salesforce.wire.limits import Limit, read_limits
from salmon.salesforce.wire.signing_in.grants import ENDINGS
from salmon.salesforce.wire.soql import quoted
from salmon.salesforce.writing.allowance import ALLOWANCE as PUBLISHED

SIGN_IN: Final = "salesforce.sign_in"
_SIGN_IN: Final = "Salesforce: sign-in"
FLOW: Final = "salesforce.sign_in.flow"
_FLOW: Final = "Salesforce: way of signing in"
API_VERSION: Final = "salesforce.api_version"
_API_VERSION: Final = "Salesforce: API version"
_API_REQUESTS: Final = "DailyApiRequests"
_DELIVERIES: Final = "DailyDeliveredPlatformEvents"  # of change events, too, over all subscribers
_MUCH: Final = 0.25  # a share of an allowance that something may need before somebody should know
_LITTLE: Final = 0.1  # a share of an allowance below which somebody should know
SKEW_MAX_S: Final = (
    5.0  # conflicts are decided by the clocks of both sides; what a Date header cannot tell is 1 s
)
_SEES_SETUP: Final = "Give the integration user View Setup and Configuration to have this looked at."


class OrgChecks:
    """
    The checks of one org.

    Args:
        config: The sync.
        administration: Of the integration user.
        now_s: This machine's clock.
    """

    def __init__(
        self, config: SyncConfig, administration: Administration, now_s: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._org = administration
        self._now_s = now_s

    def checks(self) -> Sequence[Check]:
        """All of them; the first is the one that the others come after."""
        return (
            Check(SIGN_IN, _SIGN_IN, self._sign_in),
            Check(API_VERSION, _API_VERSION, self._api_version, after=SIGN_IN),
            *(
                Check(f"salesforce.{name}", f"Salesforce: {what}", look, after=API_VERSION)
                for name, what, look in (
                    ("who", "user and org", self._who),
                    ("permissions", "permissions of the user", self._permissions),
                    ("selection", "selected change events", self._selection),
                    ("allowances", "daily allowances", self._allowances),
                    ("clock", "clock", self._clock),
                )
            ),
        )

    def _sign_in(self) -> Iterator[Line]:
        sign_in = self._org.rest.sign_in
        token, lives_s = sign_in.token(), sign_in.lifetime_s()
        until = (
            "Salesforce does not say for how long the token is good; Salmon takes a new one when it is refused"
            if lives_s is None
            else f"The token is good for {max(0, round(lives_s / 60))} min more; then Salmon takes a new one"
        )
        yield ok(SIGN_IN, _SIGN_IN, f"Signed in at {token.instance_url} by {sign_in.flow}. {until}.")
        if sign_in.flow in ENDINGS:
            yield warn(FLOW, _FLOW, *(f"{sentence}." for sentence in ENDINGS[sign_in.flow]))
        else:
            yield ok(FLOW, _FLOW, f"Salesforce has named no end of {sign_in.flow}.")

    def _api_version(self) -> Iterator[Line]:
        ours, theirs = self._config.salesforce.api_version, self._org.rest.versions()
        if ours in theirs:
            self._org.rest.ask(
                "GET", "", resource="resources"
            )  # where the user may not use the API, this says so
            yield ok(API_VERSION, _API_VERSION, f"The org has {ours} (and up to {theirs[-1]}).")
        else:
            yield fail(
                API_VERSION,
                _API_VERSION,
                f"The org has no API version {ours}; it has {theirs[0]} to {theirs[-1]}.",
                f"Set salesforce.api_version to {theirs[-1]}.",
            )

    def _who(self) -> Iterator[Line]:
        token = self._org.rest.sign_in.token()
        users = self._org.rows(("Username", "Name"), "User", f"Id = {quoted(token.user_id)}")
        orgs = self._org.rows(("Name", "OrganizationType", "IsSandbox"), "Organization")
        user = f"{users[0]['Name']} ({users[0]['Username']})" if users else token.user_id
        org = orgs[0] if orgs else {}
        kind = "a sandbox" if org.get("IsSandbox") else org.get("OrganizationType") or "of unknown edition"
        yield ok(
            "salesforce.who",
            "Salesforce: user and org",
            f"The user is {user}; the org is {org.get('Name') or 'without a name'}, {kind}, {token.organization_id}.",
        )

    def _permissions(self) -> Iterator[Line]:
        name, what = "salesforce.permissions", "Salesforce: permissions of the user"
        try:
            rights = self._org.rights()
        except RequestRejected as error:
            yield told_by(f"{name}.own", what, error)
            return
        if rights["PermissionsApiEnabled"]:
            yield ok(f"{name}.api_enabled", "Salesforce: API Enabled", "The user may use the API.")
        else:
            yield fail(
                f"{name}.api_enabled",
                "Salesforce: API Enabled",
                "The user's profile and permission sets do not have API Enabled.",
                "Switch on API Enabled in a permission set of the user.",
            )
        yield from self._all_data(
            "view_all",
            everything=rights["PermissionsViewAllData"] or rights["PermissionsModifyAllData"],
            right="View All Data",
            of_object="PermissionsViewAllRecords",
            tells=fail,
            objects=self._config.objects,
            consequence="records and change events of it can be missing",
        )
        yield from self._all_data(
            "modify_all",
            everything=rights["PermissionsModifyAllData"],
            right="Modify All Data",
            of_object="PermissionsModifyAllRecords",
            tells=warn,
            objects={
                name: each for name, each in self._config.objects.items() if each.direction != "to_mongodb"
            },
            consequence="only records that sharing lets the user edit can be written",
        )
        if not rights["PermissionsViewSetup"]:
            yield warn(
                f"{name}.view_setup",
                f"Salesforce: {RIGHTS['PermissionsViewSetup']}",
                "The user may not look at the org's setup, so some of these checks cannot look either.",
                _SEES_SETUP,
            )

    def _all_data(
        self,
        name: str,
        *,
        everything: bool,
        right: str,
        of_object: str,
        tells: Callable[[str, str, str, str], Line],
        objects: Mapping[str, ObjectConfig],
        consequence: str,
    ) -> Iterator[Line]:
        """Whether the user reaches all records: by a right over all data, or by one over each object."""
        name, what = f"salesforce.permissions.{name}", f"Salesforce: {right}"
        if not objects:
            return
        if everything:
            yield ok(name, what, f"The user has {right}, or more.")
            return
        try:
            lacking = sorted(set(objects) - self._org.with_right(of_object, objects))
        except RequestRejected:
            yield warn(
                name,
                what,
                f"The user does not have {right}; whether it has it for each object is not shown to it.",
                _SEES_SETUP,
            )
            return
        of_each = right.replace("Data", "Records")
        if lacking:
            yield tells(
                name,
                what,
                f"The user has neither {right} nor {of_each} of {', '.join(lacking)}: {consequence}.",
                f"Give the user {of_each} of {', '.join(lacking)} in a permission set, or {right}.",
            )
        else:
            yield ok(name, what, f"The user has {of_each} of each synced object.")

    def _selection(self) -> Iterator[Line]:
        name, what = "salesforce.selection", "Salesforce: selected change events"
        try:
            selected = self._org.selected()
        except RequestRejected as error:
            yield warn(
                name,
                what,
                f"Which objects are selected is not shown to this user ({error.code}); whether each synced one has change"
                " events is looked at below.",
                _SEES_SETUP,
            )
            return
        heard = [name for name, each in self._config.objects.items() if not is_polled(each)]
        channel = self._config.salesforce.pubsub.channel.rpartition("/")[2]
        if channel != CHANNEL:
            yield from self._custom(channel, heard)
            return
        missing = [each for each in heard if CHANNEL not in selected.get(event_of(each), ())]
        needed = len(selected.keys() | {event_of(each) for each in missing})
        said = f"{len(selected)} objects are selected in the org"
        if missing and needed > SELECTED_DEFAULT_MAX:
            yield warn(
                name,
                what,
                f"{said}, and {', '.join(missing)} would come to it. That makes {needed}, and an org may select"
                f" {SELECTED_DEFAULT_MAX} without the add-on for Change Data Capture.",
                "Deselect others under Setup, Change Data Capture, order the add-on from Salesforce, or poll some objects"
                " (objects.<Object>.capture: poll).",
            )
        else:
            yield ok(name, what, f"{said}; without the add-on, {SELECTED_DEFAULT_MAX} can be.")

    def _custom(self, channel: str, heard: Sequence[str]) -> Iterator[Line]:
        """Whether a custom channel carries all objects, and all of their events."""
        name, what = "salesforce.selection", f"Salesforce: change events on {channel}"
        members = self._org.members(channel)
        if missing := [each for each in heard if event_of(each) not in members]:
            yield fail(
                name,
                what,
                f"The channel {channel} does not carry {', '.join(missing)}.",
                "Run `salmon setup`, which makes the channel if it does not exist, and adds them to it; or remove"
                " salesforce.pubsub.channel.",
            )
        elif filtered := sorted(
            event for event in map(event_of, heard) if members[event].get("FilterExpression")
        ):
            yield fail(
                name,
                what,
                f"The channel {channel} has filters for {', '.join(filtered)}. An edit by which a record ceases to match would never"
                " be seen.",
                "Remove the filters from the channel's members.",
            )
        else:
            yield ok(name, what, f"The channel carries {len(heard)} synced objects, without filters.")

    def _allowances(self) -> Iterator[Line]:
        try:
            found = read_limits(self._org.rest)
        except RequestRejected:
            found = {}
        usage = self._org.rest.usage
        calls = found.get(_API_REQUESTS)
        if calls is None and usage is not None:
            calls = Limit(usage[1], usage[1] - usage[0])
        yield _allowance(
            "salesforce.allowances.api",
            "Salesforce: API requests",
            calls,
            "See what else uses the API under Setup, Company Information, and order more from Salesforce if it lasts.",
        )
        floor = self._config.salesforce.api_budget.floor
        if calls is not None and floor >= calls.most:
            yield fail(
                "salesforce.allowances.budget",
                "Salesforce: API requests left to Salmon",
                f"salesforce.api_budget.floor leaves {floor:,} requests to others, and the org allows {calls.most:,} in 24 hours.",
                "Set salesforce.api_budget.floor to less than that.",
            )
        polled = [each.capture.every_s for each in self._config.objects.values() if is_polled(each)]
        if polled and calls is not None and (needed := sum(map(calls_a_day, polled))) > _MUCH * calls.most:
            yield warn(
                "salesforce.allowances.polling",
                "Salesforce: API requests for polling",
                f"Polling {len(polled)} objects costs about {needed:,} of {calls.most:,} requests a day.",
                "Set objects.<Object>.capture.every to a longer time.",
            )
        yield _allowance(
            "salesforce.allowances.events",
            "Salesforce: event deliveries",
            found.get(_DELIVERIES),
            "See what else subscribes to events, exclude objects that change much, or order the add-on from Salesforce.",
        )
        if any(each.direction == "to_salesforce" for each in self._config.events.values()):
            yield _allowance(
                "salesforce.allowances.published",
                "Salesforce: published events",
                found.get(PUBLISHED),
                "See what else publishes platform events (Setup, Platform Events), or order more from Salesforce.",
                within="this hour",
            )

    def _clock(self) -> Iterator[Line]:
        rest = self._org.rest
        rest.look_at_clock()
        yield clock_line(
            "salesforce.clock", "Salesforce: clock", rest.clock.now / 1000, self._now_s(), "the org's"
        )


def clock_line(name: str, what: str, theirs_s: float, ours_s: float, whose: str) -> Line:
    """Compare a server's clock with this machine's."""
    ahead_s = ours_s - theirs_s
    if abs(ahead_s) <= SKEW_MAX_S:
        return ok(name, what, f"This machine's clock and {whose} agree.")
    return warn(
        name,
        what,
        f"This machine's clock is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} {whose}.",
        "Keep the clocks of this machine and of the servers right with NTP: last_writer_wins compares edits by the clocks of"
        " both sides, and Salesforce refuses to let in a machine whose clock is minutes off.",
    )


def _allowance(
    name: str, what: str, allowance: Limit | None, mend: str, within: str = "the next 24 hours"
) -> Line:
    if allowance is None:
        return warn(name, what, "How much is left is not shown to this user.", _SEES_SETUP)
    said = f"{allowance.left:,} of {allowance.most:,} are left for {within}"
    if allowance.left <= 0:
        return fail(name, what, f"{said}.", f"Wait until some is free again. {mend}")
    if allowance.share_left < _LITTLE:
        return warn(name, what, f"{said}: less than a tenth.", mend)
    return ok(name, what, f"{said}.")
