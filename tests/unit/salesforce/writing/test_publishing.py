"""What is said of an event whose values are not of the types of its schema in the org."""

from __future__ import annotations

from salmon.salesforce.writing.publishing import unfit


def test_the_fields_at_fault_are_named_with_the_types_of_their_values() -> None:
    """A field that the org requires and nothing fills, and a number beyond the field's range; others are not named."""
    avro = {
        "type": "record",
        "name": "E",
        "fields": [
            {"name": "Must__c", "type": "string"},
            {"name": "Count__c", "type": ["null", "int"]},
            {"name": "Fine__c", "type": ["null", "string"]},
        ],
    }
    assert unfit(avro, {"Count__c": 2**40, "Fine__c": "x"}) == ["Must__c is a NoneType", "Count__c is a int"]
    assert unfit(avro, {"Must__c": "x", "Count__c": 1}) == []
