"""
The partner and enterprise SOAP API: login, logout, getUserInfo, getServerTimestamp, and the calls about records
(salmon.simulator.soap.records).

Every other call is refused. Faults look as recorded, and say what the API guide and recorded answers say.
Source: SOAP API Developer Guide ("login()", "API Fault Element"); "SOAP API login() retirement", release notes.
"""

from __future__ import annotations

import hmac
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.setup_objects import ADMINISTRATOR_PROFILE
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.sessions import User
from salmon.simulator.rest.web import Answer, Asked
from salmon.simulator.soap.records import RecordCalls
from salmon.simulator.soap.xml import child, local, text

# login() exists up to this version of the API.
LOGIN_VERSION_MAX: Final = 64
_INVALID_LOGIN: Final = "Invalid username, password, security token; or user locked out."
# What is said with a code; for another one that the control API asks for, there is no text to give.
MESSAGES: Final = {
    "INVALID_LOGIN": _INVALID_LOGIN,
    "LOGIN_MUST_USE_SECURITY_TOKEN": (
        f"{_INVALID_LOGIN} Are you at a new location? When accessing Salesforce--either via a desktop client or the "
        "API--from outside of your company’s trusted networks, you must add a security token to your password to log "
        "in. To get your new security token, log in to Salesforce. From your personal settings, enter Reset My "
        "Security Token in the Quick Find box, then select Reset My Security Token."
    ),
    "API_DISABLED_FOR_ORG": "API is not enabled for this Organization or Partner",
    "INVALID_OPERATION": (
        "SOAP API login() is disabled by default in this org. Contact the org administrator to enable SOAP API login()."
    ),
    "INVALID_SESSION_ID": "Invalid Session ID found in SessionHeader: Illegal Session",
    "UNSUPPORTED_API_VERSION": "SOAP API login() is not available in API version 65.0 and later",
}
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" {names} '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>'
)
_XML: Final = {"Content-Type": "text/xml; charset=utf-8"}


class _Fault(Exception):
    """The call is refused. *at_login*: the fault is one of login()."""

    def __init__(self, code: str, message: str = "", *, at_login: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or MESSAGES.get(code, "injected by the control API")
        self.at_login = at_login


class PartnerApi:
    """POST /services/Soap/u/<version> and /services/Soap/c/<version> of one org."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._by_name = {user.username: user for user in org.users.values()}

    def answer(self, version: str, asked: Asked) -> Answer:
        """Answer one SOAP request; faults are HTTP 500."""
        kind = "partner" if asked.path[2] == "u" else "enterprise"
        try:
            body = self._call(version, asked)
            names = f'xmlns="urn:{kind}.soap.sforce.com"'
            return Answer(200, _ENVELOPE.format(names=names, body=body).encode(), _XML)
        except _Fault as fault:
            names = f'xmlns:sf="urn:fault.{kind}.soap.sforce.com"'
            return Answer(500, _ENVELOPE.format(names=names, body=_fault_body(fault)).encode(), _XML)

    def _call(self, version: str, asked: Asked) -> str:
        if "soapaction" not in asked.headers:
            raise _Fault("UNKNOWN_EXCEPTION", "SOAPAction HTTP header missing")
        try:
            envelope = ElementTree.fromstring(asked.body)
        except ElementTree.ParseError as error:
            raise _Fault("UNKNOWN_EXCEPTION", f"The request is not well-formed XML: {error}") from None
        call = next(iter(child(envelope, "Body") or ()), None)
        name = "" if call is None else local(call.tag)
        if call is not None and name == "login":
            self._org.usage.count_login()
            organization = text(child(envelope, "Header"), "LoginScopeHeader", "organizationId")
            return self._login(version, text(call, "username"), text(call, "password"), organization)
        token = text(child(envelope, "Header"), "SessionHeader", "sessionId").strip()
        user = self._org.sessions.user_of(token)
        if user is None:
            raise _Fault("INVALID_SESSION_ID")
        if name == "logout":
            self._org.sessions.revoke(token)
            return "<logoutResponse/>"
        if name == "getUserInfo":
            return f"<getUserInfoResponse><result>{self._user_info(user)}</result></getUserInfoResponse>"
        if name == "getServerTimestamp":
            stamp = datetime_text(self._org.clock.now_ms()).replace("+0000", "Z")
            return (
                "<getServerTimestampResponse><result>"
                f"<timestamp>{stamp}</timestamp></result></getServerTimestampResponse>"
            )
        records = RecordCalls(self._org, user, version, child(envelope, "Header"))
        if call is not None and records.serves(name):
            return self._of_records(records, name, call)
        raise _Fault("INVALID_OPERATION", f"The simulator does not serve {name or 'an empty body'} over SOAP")

    def _of_records(self, records: RecordCalls, name: str, call: ElementTree.Element) -> str:
        """The answer to a call that is counted, as those of REST are."""
        if not self._org.settings.api_enabled:
            raise _Fault("API_DISABLED_FOR_ORG")
        if not self._org.may_call():
            raise _Fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self._org.usage.count_call("soap")
        try:
            return records.answer(name, call)
        except Refusal as refusal:
            raise _Fault(refusal.code, refusal.message) from None

    def _login(self, version: str, username: str, password: str, organization: str) -> str:
        settings = self._org.settings
        if not settings.api_enabled:
            raise _Fault("API_DISABLED_FOR_ORG", at_login=True)
        if settings.soap_fault is not None:
            raise _Fault(settings.soap_fault, at_login=True)
        if not settings.soap_login:
            raise _Fault("INVALID_OPERATION", at_login=True)
        number = version.partition(".")[0]
        if not number.isdigit() or int(number) > LOGIN_VERSION_MAX:
            raise _Fault("UNSUPPORTED_API_VERSION", at_login=True)
        user = self._by_name.get(username)
        if user is None or (organization and id18(organization.strip()) != self._org.org_id):
            raise _Fault("INVALID_LOGIN", at_login=True)
        valid = self._org.passwords[user.user_id]
        with_token = _same(valid + user.security_token, password)
        if not with_token and _same(valid, password):
            if not settings.trusted_network:
                raise _Fault("LOGIN_MUST_USE_SECURITY_TOKEN", at_login=True)
        elif not with_token:
            raise _Fault("INVALID_LOGIN", at_login=True)
        instance, org15 = self._org.instance.url, self._org.org_id[:15]
        return (
            "<loginResponse><result>"
            f"<metadataServerUrl>{instance}/services/Soap/m/{version}/{org15}</metadataServerUrl>"
            "<passwordExpired>false</passwordExpired><sandbox>false</sandbox>"
            f"<serverUrl>{instance}/services/Soap/u/{version}/{org15}</serverUrl>"
            f"<sessionId>{self._org.sessions.open(user)}</sessionId><userId>{user.user_id}</userId>"
            f"<userInfo>{self._user_info(user)}</userInfo>"
            "</result></loginResponse>"
        )

    def _has_person_accounts(self) -> str:
        account = self._org.types.get("Account")
        return "true" if account is not None and account.has_person_accounts else "false"

    def _user_info(self, user: User) -> str:
        """In the order of the API's own schema: the official Pub/Sub sample reads it by position."""
        nil = None
        values: dict[str, str | None] = {
            "accessibilityMode": "false", "chatterExternal": "false", "currencySymbol": "$",
            "orgAttachmentFileSizeLimit": "26214400", "orgDefaultCurrencyIsoCode": "USD",
            "orgDefaultCurrencyLocale": "en_US", "orgDisallowHtmlAttachments": "false", "orgHasPersonAccounts": self._has_person_accounts(),
            "organizationId": self._org.org_id, "organizationMultiCurrency": "false", "organizationName": "Salmon in a box",
            "profileId": ADMINISTRATOR_PROFILE, "roleId": nil,
            "sessionSecondsValid": str(round(self._org.settings.session_timeout_s)),
            "userDefaultCurrencyIsoCode": nil, "userEmail": user.email, "userFullName": user.name,
            "userId": user.user_id, "userLanguage": "en_US", "userLocale": "en_US", "userName": user.username,
            "userTimeZone": "GMT", "userType": "Standard", "userUiSkin": "Theme3",
        }  # fmt: skip
        return "".join(
            f'<{name} xsi:nil="true"/>' if value is None else f"<{name}>{escape(value)}</{name}>"
            for name, value in values.items()
        )


def _fault_body(fault: _Fault) -> str:
    kind = "LoginFault" if fault.at_login else "UnexpectedErrorFault"
    prefix = "" if fault.at_login else "sf:"
    message = escape(fault.message)
    return (
        f"<soapenv:Fault><faultcode>{prefix}{fault.code}</faultcode><faultstring>{fault.code}: {message}</faultstring>"
        f'<detail><sf:{kind} xsi:type="sf:{kind}"><sf:exceptionCode>{fault.code}</sf:exceptionCode>'
        f"<sf:exceptionMessage>{message}</sf:exceptionMessage></sf:{kind}></detail></soapenv:Fault>"
    )


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())
