"""SOAP calls to the simulator, as plain as they can be, and what came back."""

from __future__ import annotations

from xml.etree import ElementTree

import requests

from support.boxes import Box


def soap(box: Box, body: str, header: str = "", version: str = "59.0", kind: str = "u") -> requests.Response:
    """One SOAP call; *body* and *header* are in the prefix p."""
    space = {"u": "partner", "c": "enterprise"}[kind]
    envelope = (
        f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:p="urn:{space}.soap.sforce.com">'
        f"<e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    )
    url = f"{box.simulator.endpoints.login_url}/services/Soap/{kind}/{version}"
    headers = {"Content-Type": "text/xml", "SOAPAction": "login"}
    return requests.post(url, envelope, headers=headers, verify=box.simulator.endpoints.ca_file, timeout=30)


def texts(answer: requests.Response) -> dict[str, str | None]:
    """The leaves of a SOAP answer by their local names, in their order."""
    leaves = [each for each in ElementTree.fromstring(answer.content).iter() if not len(each)]
    return {each.tag.rpartition("}")[2]: each.text for each in leaves}
