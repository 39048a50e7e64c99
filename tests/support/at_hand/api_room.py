"""The API at hand, without a process: an application whose sections a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.testclient import TestClient

from salmon.api.access import Access
from salmon.api.application import Section, application
from salmon.api.handle import Api, objects_of
from salmon.api.records.asking import bound_ms
from salmon.api.reports.opening import opened
from salmon.api.settling import Settling
from salmon.config.models import SyncConfig
from salmon.config.sections.api import ApiConfig
from salmon.errors import Unavailable
from salmon.model.described import described
from salmon.model.schema import ObjectSchema, schema_of_describe
from salmon.ops.api_metrics import ApiMetrics
from salmon.ops.connect.described import Described, Served
from salmon.ops.health import Health
from salmon.story.lookup import Lookup
from support.orgs.describes import describe
from support.sync_config import sync_config

LOCAL: Final = "http://127.0.0.1:8090"
CLIENT: Final = ("127.0.0.1", 50_000)
Serve = Callable[..., TestClient]


def settings(**keys: Any) -> ApiConfig:
    """The section `api` with these keys."""
    return ApiConfig.model_validate(keys)


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A field of a describe."""
    return {
        "name": name,
        "type": kind,
        "label": name.removesuffix("__c"),
        "createable": True,
        "updateable": True,
        "nillable": True,
        "defaultedOnCreate": False,
        "calculated": False,
        "length": 0,
        "digits": 0,
        "precision": 0,
        "scale": 0,
        "inlineHelpText": None,
        "picklistValues": [],
        "restrictedPicklist": False,
        "controllerName": None,
        "referenceTo": [],
        "relationshipName": None,
        **more,
    }


def choices(*values: str, **valid_for: str) -> list[dict[str, Any]]:
    """The values of a picklist. *valid_for*: of a dependent one."""
    return [
        {"value": each, "label": each, "active": True, "defaultValue": False, "validFor": valid_for.get(each)}
        for each in values
    ]


# An object with a field of each kind, and picklists that depend on each other.
CAR: Final[dict[str, Any]] = {
    "name": "Car__c",
    "label": "Car",
    "labelPlural": "Cars",
    "keyPrefix": "a01",
    "childRelationships": [
        {"relationshipName": "Trailers__r", "childSObject": "Car__c", "field": "Pulled_By__c"}
    ],
    "fields": [
        field("Id", "id", createable=False, updateable=False, nillable=False),
        field("Name", "string", length=80, nillable=False, inlineHelpText="What its owner calls it."),
        field("Notes__c", "textarea", length=1000),
        field("Doors__c", "int", digits=9),
        field("Price__c", "currency", precision=18, scale=2),
        field("Built__c", "date"),
        field("Seen__c", "datetime"),
        field("Opens__c", "time"),
        field("Electric__c", "boolean", nillable=False, defaultedOnCreate=True),
        field("Colours__c", "multipicklist", length=255, picklistValues=choices("Red", "Blue", "Green")),
        field(
            "Make__c", "picklist", length=40, restrictedPicklist=True, picklistValues=choices("Audi", "Fiat")
        ),
        # The first bit of validFor stands for Audi, the second for Fiat.
        field(
            "Model__c",
            "picklist",
            length=40,
            restrictedPicklist=True,
            controllerName="Make__c",
            picklistValues=choices("A4", "Panda", "Estate", A4="gAAA", Panda="QAAA", Estate="wAAA"),
        ),
        field("Pulled_By__c", "reference", referenceTo=["Car__c"], relationshipName="Pulled_By__r"),
        field("OwnerId", "reference", referenceTo=["User"], relationshipName="Owner", defaultedOnCreate=True),
        field("Number__c", "string", length=30, createable=False, updateable=False),
        field("CreatedDate", "datetime", createable=False, updateable=False, nillable=False),
    ],
}


def describe_of(name: str) -> dict[str, Any]:
    """What the org says of an object of the package, or of CAR."""
    return CAR if name == CAR["name"] else describe(name)


def schemas_of(*names: str) -> dict[str, ObjectSchema]:
    """The schemas of objects of the package's org, and of CAR."""
    return {name: schema_of_describe(describe_of(name)) for name in names}


def api_of(
    *names: str,
    database: Any = None,
    access: Callable[[Callable[[], ApiConfig]], Access] = Access,
    objects: Mapping[str, Any] | None = None,
    reports: Mapping[str, Any] | None = None,
    **keys: Any,
) -> Api:
    """
    A handle on a sync of these objects.

    Args:
        database: Where the records are; None for tests that read none.
        access: Makes the authentication; it gets the settings.
        objects: Settings of objects beside their collections.
        reports: As in the configuration.
        keys: Of the section `api`.
    """
    own = objects or {}
    said = {name: {"collection": name.lower(), **own.get(name, {})} for name in names}
    for each in said.values():
        if "collections" in each:  # several, in place of one
            del each["collection"]
    config = SyncConfig.model_validate(sync_config(objects=said, api=keys, reports=reports or {}))
    schemas = {
        name: schema_of_describe(describe_of(name), decimals=each.numbers == "decimal")
        for name, each in config.objects.items()
    }
    described_all = {name: described(describe_of(name)) for name in names}

    def live() -> SyncConfig:
        return config

    return Api(
        live=live,
        database=database,
        access=access(lambda: config.api or ApiConfig()),
        metrics=ApiMetrics("api"),
        settling=Settling(nowhere, ()),
        reports=opened(config, schemas, described_all, database, lambda: bound_ms(config.api or ApiConfig())),
        objects=objects_of(config, schemas, described_all),
    )


def nowhere() -> Lookup:
    """There is no Kafka."""
    raise Unavailable("There is no Kafka.")


def client_of(api: Api, *sections: Section, base_url: str = LOCAL) -> TestClient:
    """A client of the application with these sections."""
    served = Served(Described("api", "api", {}, worker_id="", sync="crm", ordinal=0), Health(), api.metrics)
    return TestClient(
        application(api, served, sections), base_url=base_url, raise_server_exceptions=False, client=CLIENT
    )


def echo(api: Api) -> APIRouter:
    """A section that says who asks."""
    routes = APIRouter()
    reads, writes = api.access.may("read", "Account"), api.access.may("update", "Account")
    views, operates = api.access.views(), api.access.operates()

    @routes.get("/who")
    async def who(caller: Any = reads) -> str:
        return str(caller.name)

    @routes.post("/write")
    async def write(caller: Any = writes) -> str:
        return str(caller.name)

    @routes.get("/console")
    async def console(caller: Any = views) -> str:
        return str(caller.name)

    @routes.post("/console")
    async def act(caller: Any = operates) -> str:
        return str(caller.name)

    return routes
