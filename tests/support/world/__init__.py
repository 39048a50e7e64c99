"""The World: both sides, their users, sources and sinks, and merge, in one process under one seed and one clock."""

from support.world.play import World

__all__ = ["World"]
