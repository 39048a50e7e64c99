"""
Who a session is of: the userinfo endpoint and the identity URL, with the fields that real orgs answer.

Sources: "Identity URLs" and "Get User Information by Using the UserInfo Endpoint", Salesforce Help, with its table of errors.
"""

from __future__ import annotations

from typing import Any

from salmon.simulator.org.clock import datetime_text, whole_second_ms
from salmon.simulator.org.ids import id18
from salmon.simulator.org.org import Org
from salmon.simulator.org.sessions import User
from salmon.simulator.rest.web import LAST_VERSION, Answer, Asked


class Identities:
    """The identities of one org's users."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._since_ms = whole_second_ms(org.clock.now_ms())

    def userinfo(self, asked: Asked) -> Answer:
        """GET or POST /services/oauth2/userinfo"""
        user = self._asker(asked)
        if isinstance(user, Answer):
            return user
        urls = self._urls(user, "{version}")
        body = {
            "sub": identity_url(self._org, user), "user_id": user.user_id, "organization_id": self._org.org_id,
            "preferred_username": user.username, "nickname": _nickname(user), "name": user.name, "email": user.email,
            "email_verified": True, "given_name": user.first_name, "family_name": user.last_name, "zoneinfo": "GMT",
            "photos": self._photos(user), "profile": f"{self._org.instance.url}/{user.user_id}",
            "picture": self._photos(user)["picture"], "address": {"country": "US"},
            "is_salesforce_integration_user": user is self._org.integration_user, "urls": urls, "active": True,
            "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": 0,
            "updated_at": self._modified().replace("+0000", "Z"), "is_app_installed": True,
        }  # fmt: skip
        return Answer(200, body)

    def identity(self, asked: Asked, org_id: str, user_id: str) -> Answer:
        """GET /id/<org>/<user>, with ?version=latest or a number to have it in the URLs"""
        asker = self._asker(asked)
        if isinstance(asker, Answer):
            return asker
        org, named = id18(org_id), id18(user_id)
        if org is None or named is None or (org == self._org.org_id and named not in self._org.users):
            return _refused(404, "Bad_Id")
        if org != self._org.org_id:
            return _refused(403, "Wrong_Org")
        if asked.params.get("format", "json") != "json":
            return _refused(406, "The simulator answers identity URLs in JSON only")
        user = self._org.users[named]
        version = {"latest": f"{LAST_VERSION}.0"}.get(
            asked.params.get("version", ""), asked.params.get("version")
        )
        body = {
            "id": identity_url(self._org, user), "asserted_user": user is asker, "user_id": user.user_id,
            "organization_id": self._org.org_id, "username": user.username, "nick_name": _nickname(user),
            "display_name": user.name, "email": user.email, "email_verified": True, "first_name": user.first_name,
            "last_name": user.last_name, "timezone": "GMT", "photos": self._photos(user), "addr_street": None,
            "addr_city": None, "addr_state": None, "addr_country": "US", "addr_zip": None, "mobile_phone": None,
            "mobile_phone_verified": False, "is_lightning_login_user": False,
            "status": {"created_date": None, "body": None}, "urls": self._urls(user, version or "{version}"),
            "active": True, "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": 0,
            "last_modified_date": self._modified(), "is_app_installed": True,
        }  # fmt: skip
        return Answer(200, body)

    def _asker(self, asked: Asked) -> User | Answer:
        """Whose token came along, in the header or as a parameter; or the refusal."""
        token = asked.token or asked.params.get("oauth_token") or asked.params.get("access_token") or ""
        if not token:
            return _refused(403, "Missing_OAuth_Token")
        user = self._org.sessions.user_of(token)
        return _refused(403, "Bad_OAuth_Token") if user is None else user

    def _urls(self, user: User, version: str) -> dict[str, Any]:
        instance, org15 = self._org.instance.url, self._org.org_id[:15]
        data = f"{instance}/services/data/v{version}/"
        soap = f"{instance}/services/Soap"
        return {
            "enterprise": f"{soap}/c/{version}/{org15}", "metadata": f"{soap}/m/{version}/{org15}",
            "partner": f"{soap}/u/{version}/{org15}", "rest": data, "sobjects": f"{data}sobjects/",
            "search": f"{data}search/", "query": f"{data}query/", "recent": f"{data}recent/",
            "tooling_soap": f"{soap}/T/{version}/{org15}", "tooling_rest": f"{data}tooling/",
            "profile": f"{instance}/{user.user_id}", "feeds": f"{data}chatter/feeds",
            "groups": f"{data}chatter/groups", "users": f"{data}chatter/users", "feed_items": f"{data}chatter/feed-items",
            "feed_elements": f"{data}chatter/feed-elements", "custom_domain": instance,
        }  # fmt: skip

    def _photos(self, user: User) -> dict[str, str]:
        base = f"{self._org.instance.url}/profilephoto/{user.user_id[:3]}"
        return {"picture": f"{base}/F", "thumbnail": f"{base}/T"}

    def _modified(self) -> str:
        return datetime_text(self._since_ms)


def identity_url(org: Org, user: User) -> str:
    """Not of the real login host: a client that follows the URL must not take its token there."""
    return f"{org.instance.url}/id/{org.org_id}/{user.user_id}"


def _nickname(user: User) -> str:
    return user.username.split("@")[0]


def _refused(status: int, word: str) -> Answer:
    return Answer(status, word.encode(), {"Content-Type": "text/html;charset=UTF-8"})
