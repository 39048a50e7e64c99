"""
A side for Salmon: a folder with one file of JSON lines for each object. README.md beside it shows how it is used and how it works.

`append` is for applications that write in Python.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from jsonl_side.journal import append
from salmon.plugin import SidePlugin

__all__ = ["SIDE", "JsonlSettings", "append"]


class JsonlSettings(BaseModel):
    """Where the files are. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(min_length=1, description="The folder with the files: <sObject>.jsonl.")
    poll_s: float = Field(default=0.5, gt=0, le=60, description="How often the source looks for new lines.")
    keep_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        description="Of a file that is four times as large, the older lines are squashed into one for each record. A source that was "
        "away for longer reads the file again.",
    )


SIDE = SidePlugin(settings=JsonlSettings, guarded=True)
