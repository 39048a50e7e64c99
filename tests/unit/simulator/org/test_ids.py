"""Record ids."""

from __future__ import annotations

from salmon.simulator.org.ids import id18, make_id


def test_the_checksum_is_salesforces() -> None:
    """An id of a real org gets the suffix that the real org showed."""
    assert id18("001Dp00000JJkkH") == "001Dp00000JJkkHIAT"
    assert id18("001Dp00000JJkkHIAT") == "001Dp00000JJkkHIAT"
    assert id18("000000000000000") == "000000000000000AAA"


def test_what_is_no_id_is_told_from_one() -> None:
    """Wrong lengths, wrong characters and wrong checksums are no ids."""
    for text in ("", "abc", "001Dp00000JJkk-", "001Dp00000JJkkHIAA", "001Dp00000JJkkHI", None, 5):
        assert id18(text) is None


def test_ids_rise_with_their_number() -> None:
    """So keyset paging by Id meets records in the order of their creation."""
    made = [make_id("003", number) for number in range(1, 5000, 7)]
    assert made == sorted(made)
    assert all(each.startswith("003") and id18(each) == each for each in made)
