"""sObject Tree (REST API Developer Guide): new records with their children, all or nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from salmon.simulator.org.refusals import BadRequest, Refusal, unknown_field
from salmon.simulator.org.table import Table
from salmon.simulator.rest.web import Answer, Call

RECORDS_MAX, TYPES_MAX, LEVELS_MAX = 200, 5, 5


@dataclass(slots=True)
class _Node:
    reference_id: str
    table: Table
    fields: dict[str, Any]
    parent: _Node | None = None
    parent_field: str = ""
    record_id: str = ""


def tree(call: Call, object_name: str) -> Answer:
    """POST /composite/tree/X: level by level, as the guide says its triggers run"""
    table = call.table(object_name)
    levels = [[_node(call, each, table) for each in _records(call.json_object())]]
    children: list[list[tuple[_Node, str, Any]]] = [_split(node) for node in levels[0]]
    while any(children):
        below = [item for each in children for item in each]
        nodes = [_child(call, parent, name, record) for parent, name, record in below]
        levels.append(nodes)
        children = [_split(node) for node in nodes]
    nodes = [node for level in levels for node in level]
    _check_size(levels, nodes)
    twice = [node for node in nodes if Counter(each.reference_id for each in nodes)[node.reference_id] > 1]
    if twice:
        error = Refusal("INVALID_INPUT", "Duplicate ReferenceId provided in the request.")
        return _failed([(node, error) for node in twice])
    with call.transaction(with_client=False) as unit:
        for level in levels:
            refused: list[tuple[_Node, Refusal]] = []
            for node in level:
                if node.parent is not None:
                    node.fields[node.parent_field] = node.parent.record_id
                try:
                    node.record_id = unit.insert(node.table.type.name, node.fields)
                except BadRequest:  # The request as a whole is wrong.
                    raise
                except Refusal as refusal:
                    refused.append((node, refusal))
            if refused:
                unit.rollback()
                return _failed(refused)
    results = [{"referenceId": node.reference_id, "id": node.record_id} for node in nodes]
    return Answer(201, {"hasErrors": False, "results": results})


def _records(holder: Any) -> list[dict[str, Any]]:
    records = holder.get("records") if isinstance(holder, dict) else None
    if not isinstance(records, list) or not records or not all(isinstance(each, dict) for each in records):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'records' must be an array of objects.")
    return records


def _node(call: Call, record: dict[str, Any], wanted: Table) -> _Node:
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    reference_id = attributes.get("referenceId") if isinstance(attributes, dict) else None
    if not isinstance(name, str) or not isinstance(reference_id, str):
        what = "Each record needs an attributes object with its type and a referenceId."
        raise BadRequest("INVALID_INPUT", what)
    if call.org.object_name(name) != wanted.type.name:
        what = f"The record '{reference_id}' is of type {name}, and {wanted.type.name} is needed there."
        raise BadRequest("INVALID_TYPE", what)
    fields = {key: value for key, value in record.items() if key != "attributes"}
    return _Node(reference_id, wanted, fields)


def _split(node: _Node) -> list[tuple[_Node, str, Any]]:
    """Take the child records out of the node's fields: (the node, the relationship, the record)."""
    found = []
    for name, value in list(node.fields.items()):
        if isinstance(value, dict) and "records" in value:
            found += [(node, name, each) for each in _records(node.fields.pop(name))]
    return found


def _child(call: Call, parent: _Node, relationship: str, record: dict[str, Any]) -> _Node:
    child = parent.table.type.child(relationship)
    table = None if child is None else call.org.tables.get(child[0])
    if child is None or table is None:
        raise unknown_field(parent.table.type.name, relationship)
    node = _node(call, record, table)
    node.parent, node.parent_field = parent, child[1]
    return node


def _check_size(levels: list[list[_Node]], nodes: list[_Node]) -> None:
    if len(nodes) > RECORDS_MAX:
        what = f"record limit reached. cannot submit more than {RECORDS_MAX} records into this call"
        raise BadRequest("EXCEEDED_ID_LIMIT", what)
    if len(levels) > LEVELS_MAX:
        raise BadRequest("LIMIT_EXCEEDED", f"A tree can’t be deeper than {LEVELS_MAX} levels.")
    if len({node.table.type.name for node in nodes}) > TYPES_MAX:
        raise BadRequest("LIMIT_EXCEEDED", f"The request can’t have records of more than {TYPES_MAX} types.")


def _failed(refused: list[tuple[_Node, Refusal]]) -> Answer:
    results = [
        {"referenceId": node.reference_id, "errors": refusal.as_collection_errors()}
        for node, refusal in refused
    ]
    return Answer(400, {"hasErrors": True, "results": results})
