"""What a source's metrics say of a committed batch."""

from __future__ import annotations

from salmon.model.change import CUT, MONGODB, Change, Op
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import SourceRecord
from salmon.source.batches import Encoded
from salmon.source.reporting import report_batch


def test_each_value_of_which_a_part_is_left_out_is_counted() -> None:
    """A time of day in a date field, once for each field of a change, whatever else the change says (case V9)."""
    metrics = Metrics("mongodb-source")
    said = [{CUT: "Birthdate, Since"}, {CUT: "Since"}, {"operation": "update"}]
    changes = {
        index: SourceRecord("Account", "a", Change(MONGODB, Op.UPDATE, source=source))
        for index, source in enumerate(said)
    }
    report_batch(metrics, Encoded(changes=changes))
    labels = {"connector": "mongodb-source", "object": "Account"}
    assert metrics.registry.get_sample_value("salmon_cut_values_total", labels) == 3
    other = {**labels, "object": "Contact"}
    assert metrics.registry.get_sample_value("salmon_cut_values_total", other) is None
