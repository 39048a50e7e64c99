"""The block for a sync's YAML that a simulated org prints: pasted as it is, it signs in."""

from __future__ import annotations

from pathlib import Path

import yaml

from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.rest import Rest
from salmon.simulator.for_sync import salesforce_block
from salmon.simulator.server import Simulator


def test_the_block_signs_in_as_it_is(tmp_path: Path) -> None:
    """Written as YAML and read again; its paths hold from any folder."""
    with Simulator.start(tmp_path / "org", objects=["Account"]) as running:
        block = yaml.safe_load(yaml.safe_dump(salesforce_block(running.endpoints.as_dict())))
        reference = block["auth"]["private_key"]
        key = Path(reference.removeprefix("${file:").removesuffix("}"))
        assert key.is_absolute()
        assert Path(block["ca_file"]).is_absolute()
        block["auth"]["private_key"] = key.read_text(encoding="utf-8")
        config = SalesforceConfig.model_validate(block)
        rest = Rest(config, https=Https(config.ca_file))
        assert rest.sign_in.token().user_id
        rest.close()
