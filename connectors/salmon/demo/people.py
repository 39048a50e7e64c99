"""
The two editors: a person in the org, through simple-salesforce, and an application, through PyMongo.

Neither knows about Salmon. The person is a different user than the integration user, so the org can distinguish them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from pymongo import MongoClient
from pymongo.database import Database
from simple_salesforce import api

from salmon.config.models import SyncConfig
from salmon.salesforce.config import Auth, PubSub, SalesforceConfig
from salmon.salesforce.wire.signing_in.auth import SignIn

Document = dict[str, Any]


class Person:
    """Somebody who works in the org."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        """*endpoints*: the simulator's."""
        self.config = SalesforceConfig(
            login_url=endpoints["login_url"],
            auth=Auth.model_validate(
                {
                    "flow": "client_credentials",
                    "client_id": endpoints["person_client_id"],
                    "client_secret": endpoints["person_client_secret"],
                }
            ),
            pubsub=PubSub(endpoint=endpoints["pubsub_endpoint"]),
            ca_file=endpoints["ca_file"],
        )
        self.sign_in = SignIn(self.config)
        self._ca_file = endpoints["ca_file"]

    def client(self) -> Any:
        """A simple-salesforce client; one for each thread."""
        token = self.sign_in.token()
        session = requests.Session()
        session.verify = self._ca_file
        session.trust_env = False  # this machine's proxies and CAs are not meant for the simulated org
        return api.Salesforce(
            session_id=token.access_token,
            instance_url=token.instance_url,
            session=session,
            version=self.config.api_version,
        )


class Application:
    """A program that works with the documents."""

    def __init__(self, config: SyncConfig) -> None:
        self._client: MongoClient[Document] = MongoClient(
            config.mongodb.uri.get_secret_value(), appname="salmon-demo", tz_aware=True
        )
        self.database: Database[Document] = self._client.get_database(config.mongodb.database)
        self._collections = {name: each.places[0] for name, each in config.objects.items()}

    def collection(self, name: str) -> Any:
        """The collection of an object."""
        return self.database[self._collections[name]]

    def objects(self) -> Mapping[str, str]:
        """Collection -> object."""
        return {collection: name for name, collection in self._collections.items()}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
