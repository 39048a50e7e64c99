"""What brokers say of themselves and of a group, on both brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from salmon.errors import Unavailable
from salmon.kafka import clients, cluster
from salmon.kafka.cluster import Shares
from salmon.ports import free_ports
from support.waiting import until

Join = Callable[..., Consumer]


@pytest.fixture
def join(kafka: dict[str, Any], name: str, create: Callable[..., str]) -> Iterator[Join]:
    """Lets one more static member into a group that reads a topic of two partitions."""
    topic, members = create(), list[Consumer]()

    def join(number: int, program: str = name) -> Consumer:
        member = clients.consumer(
            kafka, group_id=name, client_id=f"{program}-{number}", instance_id=f"{name}-{number}"
        )
        member.subscribe([topic])
        members.append(member)
        return member

    yield join
    for member in members:
        member.poll(0.2)  # what a rebalance still asks of it is done before it is closed
        member.close()


def test_a_member_without_partitions_is_told_from_one_whose_share_is_held(
    kafka: dict[str, Any], name: str, join: Join
) -> None:
    """Three members of a group with two partitions: one each, and one has none (case S11). Before, nobody has any."""
    admin = clients.admin(kafka)
    members = [join(0)]

    def held() -> tuple[list[int], int]:
        for member in members:
            member.poll(0.05)
        try:
            shares = cluster.shares(admin, name, [f"{name}.table"])
        except Unavailable:  # The group has no coordinator yet.
            return [], 0
        return sorted(shares.held), shares.nobodys

    assert cluster.shares(admin, f"{name}-nobody", [f"{name}.table"]) == Shares([], 2)
    until(lambda: held() == ([2], 0), "the first has both")
    members += [join(1), join(2)]
    until(lambda: held() == ([0, 1, 1], 0), "each has its share", within_s=60, seen=held)


def test_a_stranger_in_the_group_holds_nothing_for_us(kafka: dict[str, Any], name: str, join: Join) -> None:
    """It has both partitions, and our instance waits: no instance of ours has any (case S11)."""
    admin = clients.admin(kafka)
    stranger = join(0, "stranger")
    until(lambda: _held_by_all(admin, name, stranger) == [2], "the stranger has both")
    assert cluster.shares(admin, name, [f"{name}.table"]) == Shares([], 2)


def _held_by_all(admin: AdminClient, name: str, *members: Consumer) -> list[int]:
    for member in members:
        member.poll(0.05)
    try:
        return sorted(each.partitions for each in cluster.members(admin, name))
    except Unavailable:  # The group has no coordinator yet.
        return []


def test_a_broker_that_is_there_answers_and_one_that_is_not_does_not(kafka: dict[str, Any]) -> None:
    """The cheapest question there is; it needs no topic and makes none."""
    cluster.ask(clients.admin(kafka))
    nobody = clients.admin({**kafka, "bootstrap.servers": f"127.0.0.1:{free_ports(1)[0]}"})
    with pytest.raises(Unavailable):
        cluster.ask(nobody, timeout_s=1.0)


def test_members_are_known_by_the_name_of_their_instance(
    kafka: dict[str, Any], name: str, join: Join
) -> None:
    """A restarting process finds out by it whether a newer instance runs (case S2); nobody knows a group that is not there."""
    admin, member = clients.admin(kafka), join(0)

    def known() -> list[str]:
        member.poll(0.05)
        try:
            return [each.client_id for each in cluster.members(admin, name)]
        except Unavailable:  # The group has no coordinator yet.
            return []

    until(lambda: known() == [f"{name}-0"], "its only member", seen=known)
    assert cluster.members(admin, f"{name}-nobody") == []
