"""`salmon verify --resume`: a run is killed in the middle of its reading, and the next one goes on there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from salmon.model.change import MONGODB
from support.at_hand.verify_room import Room

TESTS = Path(__file__).parents[1]
PAGES = 200  # of both sides
# Reads page after page, and says so as soon as a page is in the ledger; the room is the same in every process.
READER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.at_hand import verify_room
from chaos.test_verify_resumed import room_of_many
class Telling(verify_room.RoomSide):
    def pages(self, after=""):
        for page in super().pages(after):
            yield page
            print("written", flush=True)
verify_room.RoomSide = Telling
room_of_many().resumed(Path(sys.argv[2]))
"""


def room_of_many() -> Room:
    room = Room(*(f"{number:05}" for number in range(PAGES // 2 * 10)))
    room.page = 10
    room.there[MONGODB]["00007"]["Phone"] = "555"  # in the first pages
    room.there[MONGODB]["00995"]["Phone"] = "555"  # in the last
    return room


def test_a_run_that_is_killed_is_gone_on_with_and_says_the_same(tmp_path: Path) -> None:
    """SIGKILL after 30 pages or a few more: the second run reads the rest, and finds all that a whole one finds."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(TESTS), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    try:
        for _ in range(30):
            assert reader.stdout.readline() == "written\n"
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
    room = room_of_many()
    verdict = room.resumed(tmp_path)
    assert 0 < room.pages <= PAGES - 30
    assert verdict.as_dict() == room_of_many().verdict().as_dict()
    assert list(verdict.different) == ["00007", "00995"]
