"""Names, addresses and phrases that look like a company's CRM. All of them are made up; domains are reserved ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.transaction import Stored

Row = dict[str, Stored]
Maker = Callable[[Row], Stored]


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words(
    """Ada Amara Amir Anna Bao Beatriz Carlos Chen Clara Daniel Diego Elena Emil Fatima Felix Freya Grace Hana Hugo
Imani Ines Isaac Jana Jonas Karim Kaya Leila Liam Lucia Magnus Maria Mateo Mei Mila Nadia Nina Noah Nora Olga Omar Oscar
Paula Priya Rafael Rosa Samir Sara Sofia Sven Tara Theo Uma Viktor Wei Yara Yusuf Zoe Zuzana"""
)
_LAST = _words(
    """Abara Andersson Baker Bauer Becker Bennett Bianchi Castillo Chandra Costa Dahl Dubois Eriksen Fischer Foster Garcia
Gupta Haddad Hansen Hughes Ito Ivanova Jensen Kaur Keller Khan Kim Kowalski Larsen Lopez Martin Mehta Meyer Mori Murphy
Nakamura Novak Okafor Olsen Park Patel Petrov Quinn Ramos Rossi Sato Schmidt Silva Singh Smith Tanaka Torres Varga Weber
Wilson Wright Yamada Young Zhang Zimmermann O'Brien Müller Núñez Sørensen"""
)
_FIRM = _words(
    """Alder Amber Anchor Aspen Atlas Beacon Birch Bluewater Bright Canyon Cedar Clear Cobalt Copper Coral Crest Delta Eagle
Echo Ember Falcon Fern Fjord Garnet Glacier Granite Harbor Hazel Heron Highland Indigo Iron Juniper Lantern Larch Laurel
Lighthouse Lunar Maple Meadow Meridian Mistral Northern Oak Ocean Onyx Orchard Pacific Pine Polar Prairie Quartz Raven Ridge
River Rowan Sable Saffron Sierra Silver Slate Solstice Spruce Sterling Summit Terra Thistle Tidal Umber Valley Vista Willow
Winter"""
)
_TRADE = _words(
    """Analytics Biotech Capital Cargo Chemicals Components Consulting Construction Devices Dynamics Electric Energy
Engineering Foods Freight Health Holdings Instruments Labs Logistics Manufacturing Materials Media Motors Networks Optics
Outfitters Partners Pharma Power Robotics Security Shipping Software Solutions Steel Systems Telecom Textiles Tools
Ventures"""
)
_FORM = ["Inc.", "LLC", "Ltd.", "GmbH", "Group", "& Co.", "AG", "plc", "Corp.", "S.A."]
_STREET = [
    "Market",
    "Main",
    "Oak",
    "Cedar",
    "Harbor",
    "Mill",
    "Station",
    "Lake",
    "Park",
    "Church",
    "Bridge",
    "River",
    "High",
]
_PLACES = [
    ("San Francisco", "CA", "94105", "USA"), ("Austin", "TX", "78701", "USA"), ("Seattle", "WA", "98101", "USA"),
    ("Chicago", "IL", "60606", "USA"), ("Boston", "MA", "02110", "USA"), ("Denver", "CO", "80202", "USA"),
    ("New York", "NY", "10013", "USA"), ("Portland", "OR", "97205", "USA"), ("Toronto", "ON", "M5V 2T6", "Canada"),
    ("Vancouver", "BC", "V6B 1A1", "Canada"), ("London", None, "EC2A 4NE", "UK"), ("Dublin", None, "D02 XE81", "Ireland"),
    ("Berlin", None, "10115", "Germany"), ("München", None, "80331", "Germany"), ("Paris", None, "75002", "France"),
    ("Oslo", None, "0150", "Norway"), ("København", None, "1050", "Denmark"), ("Zürich", None, "8001", "Switzerland"),
    ("Bengaluru", "KA", "560001", "India"), ("Singapore", None, "018956", "Singapore"),
    ("Tokyo", None, "100-0005", "Japan"), ("Sydney", "NSW", "2000", "Australia"),
]  # fmt: skip
_TITLES = [
    "Account Executive", "Buyer", "Chief Financial Officer", "Chief Technology Officer", "Controller", "Engineer",
    "Facilities Manager", "Head of Operations", "IT Manager", "Marketing Director", "Plant Manager", "Procurement Lead",
    "Product Manager", "Sales Manager", "SVP, Procurement", "VP, Finance", "VP, Technology",
]  # fmt: skip
_DEPARTMENTS = [
    "Administration",
    "Engineering",
    "Finance",
    "Legal",
    "Marketing",
    "Operations",
    "Procurement",
    "Sales",
]
_DEALS = ["Expansion", "New licences", "Pilot", "Platform", "Renewal", "Services", "Support plan", "Upgrade"]
_WORDS = _words(
    """after agreed annual before budget call contract customer data delivery demo early east first follow from goods
in interest invoice key large late market meeting needs new next north of offer on open order partner plan price product
project proposal quarter quote review sample scope service site small south staff start supply team technical terms test the
time to trial under update value visit volume waiting warehouse west with work year"""
)

_PART_OF_ADDRESS = re.compile(r"(.*?)(Street|City|StateCode|State|PostalCode|CountryCode|Country)$")


def add_identity(rng: random.Random, object_type: ObjectType, row: Row) -> None:
    """Give *row* what the rest of it should fit to: a company's or a person's name, and its address."""
    if object_type.has_person_name:
        row["FirstName"], row["LastName"] = rng.choice(_FIRST), rng.choice(_LAST)
    elif object_type.name == "Account":
        row["Name"] = company(rng)
    prefixes = (
        match[1]
        for field in object_type.fields
        if field.compound and (match := _PART_OF_ADDRESS.match(field.name))
        # Those are of person accounts; all accounts made here are businesses.
        if not match[1].startswith("Person")
    )
    # Not a set, whose order is another one in each process: the same seed gives the same records.
    for prefix in dict.fromkeys(prefixes):
        if prefix not in {"Billing", "Mailing", ""} and rng.random() < 0.6:
            continue  # Most have one address only.
        city, state, code, country = rng.choice(_PLACES)
        street = f"{rng.randint(1, 2500)} {rng.choice(_STREET)} Street"
        parts = {"Street": street, "City": city, "State": state, "PostalCode": code, "Country": country}
        for part, value in parts.items():
            if value is not None and object_type.field(f"{prefix}{part}") is not None:
                row[f"{prefix}{part}"] = value


def maker_for(rng: random.Random, object_type: ObjectType, field: Field) -> Maker | None:
    """How values of this well-known field are made; None for a field that only its type tells about."""
    if field.compound and _PART_OF_ADDRESS.match(field.name):
        return lambda _row: None  # set with the identity
    return _maker_by_type(rng, field) or _maker_by_name(rng, object_type, field)


def _maker_by_type(rng: random.Random, field: Field) -> Maker | None:
    if field.type == "phone":
        return lambda _row: f"({rng.randint(201, 989)}) 555-{rng.randint(0, 9999):04d}"
    if field.type == "email":
        return lambda row: _email(rng, row, field.length)
    if field.type == "url":
        return lambda row: f"https://www.{_slug(row.get('Name') or rng.choice(_FIRM))}.example"[
            : field.length or 255
        ]
    return None


def _maker_by_name(rng: random.Random, object_type: ObjectType, field: Field) -> Maker | None:
    name = field.name
    if name == "Birthdate":
        return lambda _row: f"{rng.randint(1950, 2003)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    if name == "AnnualRevenue":
        return lambda _row: float(rng.randint(1, 9999) * 10 ** rng.randint(3, 6))
    known: dict[str, list[str]] = {"Title": _TITLES, "Department": _DEPARTMENTS}
    if name in known:
        return lambda _row: rng.choice(known[name])
    if name in {"FirstName", "AssistantName"}:
        return lambda _row: rng.choice(_FIRST)
    if name == "LastName":
        return lambda _row: rng.choice(_LAST)
    if name == "Company":
        return lambda _row: company(rng)
    if name == "Name" and object_type.name == "Opportunity":
        return lambda _row: f"{company(rng)} - {rng.choice(_DEALS)}"[: field.length]
    if name == "Name":
        return lambda _row: phrase(rng, 40).title()
    if name in {"AccountNumber", "Sic", "DunsNumber", "NaicsCode", "YearStarted"}:
        digits = {"DunsNumber": 9, "NaicsCode": 6, "Sic": 4}.get(name, 7)
        if name == "YearStarted":
            return lambda _row: str(rng.randint(1870, 2020))
        return lambda _row: f"{rng.randrange(10**digits):0{digits}d}"
    if name == "TickerSymbol":
        return lambda row: re.sub(r"[^A-Z]", "", str(row.get("Name") or "").upper())[:4] or None
    return None


def company(rng: random.Random) -> str:
    """A company's name."""
    return f"{rng.choice(_FIRM)} {rng.choice(_TRADE)} {rng.choice(_FORM)}"


def phrase(rng: random.Random, length: int) -> str:
    """A few words, at most *length* characters; many where there is room for a text."""
    count = rng.randint(2, 5) if length < 300 else rng.randint(6, 30)
    return " ".join(rng.choices(_WORDS, k=count))[: max(length, 1)].strip().capitalize() or "X"


def _email(rng: random.Random, row: Row, length: int) -> str:
    first, last = (_slug(row.get(part) or rng.choice(_LAST)) for part in ("FirstName", "LastName"))
    address = f"{first}.{last}{rng.randint(1, 999)}@{rng.choice(_FIRM).lower()}.example"
    return address[-length:] if length else address


def _slug(text: Stored) -> str:
    plain = str(text).lower().translate(str.maketrans("üöäøåñúéç", "uoaoanuec"))
    return re.sub(r"[^a-z0-9]+", "", plain) or "x"
