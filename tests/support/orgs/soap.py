"""SOAP calls to the simulator, as plain as they can be, and what came back."""

from __future__ import annotations

from xml.etree import ElementTree

import requests

from support.orgs.boxes import Box


def envelope(body: str, header: str = "", kind: str = "u") -> str:
    """A request; *body* and *header* are in the prefix p."""
    space = {"u": "partner", "c": "enterprise"}[kind]
    return (
        f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:p="urn:{space}.soap.sforce.com">'
        f"<e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    )


def session(token: str) -> str:
    """The header of a call in a session."""
    return f"<p:SessionHeader><p:sessionId>{token}</p:sessionId></p:SessionHeader>"


def merge(winner: str, *losers: str, values: str = "", object_name: str = "Account") -> str:
    """A merge of records of one object; *values* are those that the winner gets."""
    named = "".join(f"<p:recordToMergeIds>{each}</p:recordToMergeIds>" for each in losers)
    master = f"<p:masterRecord><p:type>{object_name}</p:type><p:Id>{winner}</p:Id>{values}</p:masterRecord>"
    return f"<p:merge><p:request>{master}{named}</p:request></p:merge>"


def soap(box: Box, body: str, header: str = "", version: str = "59.0", kind: str = "u") -> requests.Response:
    """One SOAP call."""
    ends = box.simulator.endpoints
    url = f"{ends.login_url}/services/Soap/{kind}/{version}"
    headers = {"Content-Type": "text/xml", "SOAPAction": "login"}
    return requests.post(url, envelope(body, header, kind), headers=headers, verify=ends.ca_file, timeout=30)


def texts(answer: requests.Response) -> dict[str, str | None]:
    """The leaves of a SOAP answer by their local names, in their order."""
    leaves = [each for each in ElementTree.fromstring(answer.content).iter() if not len(each)]
    return {each.tag.rpartition("}")[2]: each.text for each in leaves}
