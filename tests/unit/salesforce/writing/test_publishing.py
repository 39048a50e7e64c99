"""What is said of an event whose values are not of the types of its schema in the org."""

from __future__ import annotations

import pytest

from salmon.errors import SchemaMismatch
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.salesforce.writing.publishing import require_digits, unfit


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


def test_a_whole_number_is_published_with_all_its_digits_or_not_at_all() -> None:
    """A subscriber never gets another number than the document has (case V5)."""
    schema = ObjectSchema(
        "E", (FieldSchema("Size__c", "double", Kind.DOUBLE), FieldSchema("Key__c", "string", Kind.STRING))
    )
    require_digits(schema, {"Size__c": 2**53, "Key__c": 123_456_789_012_345_678})
    require_digits(schema, {"Size__c": 12_345_678_901_234_500_000})
    require_digits(schema, {"Size__c": True, "Key__c": None})
    for number in (123_456_789_012_345_678, 10**400):
        with pytest.raises(SchemaMismatch, match="Size__c: the number has more digits") as refused:
            require_digits(schema, {"Size__c": number})
        assert str(number) not in str(refused.value)
