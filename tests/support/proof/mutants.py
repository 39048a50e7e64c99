"""
Mutants: the product with one rule broken, in exactly one place of its source.

A mutant is text in place of other text. It is put in force by an import hook, in a process that has imported nothing
of the product yet, so that no file is touched. A text that is not in the source, or is there twice, is an error: a rule
that has moved must take its mutant along, or the check would pass for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

PACKAGE: Final = Path(__file__).parents[3] / "connectors" / "salmon"


class MutantError(Exception):
    """The mutant cannot be put in force; it says nothing about the tests."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One rule, broken.

    Args:
        name: What is wrong with this product, in a few words.
        rule: The rule that is broken, in DESIGN's words.
        module: Where, below `salmon`: "model.fold".
        old, new: The source text and what stands in its place.
    """

    name: str
    rule: str
    module: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        return PACKAGE.joinpath(*self.module.split(".")).with_suffix(".py")

    def source(self) -> str:
        """The module's source with the rule broken."""
        was = self.path.read_text(encoding="utf-8")
        if (count := was.count(self.old)) != 1:
            raise MutantError(
                f"{self.name}: its text is {count} times in {self.module} and must be there once. The rule has "
                f"moved: correct the mutant in tests/support/proof."
            )
        return was.replace(self.old, self.new)

    def code(self) -> CodeType:
        """The module, compiled."""
        try:
            return compile(self.source(), str(self.path), "exec", dont_inherit=True)
        except SyntaxError as error:
            raise MutantError(f"{self.name}: {self.module} is no Python any more: {error}") from error


def put_in_force(mutant: Mutant) -> None:
    """Let whoever imports the mutant's module from now on get the mutant."""
    name = f"salmon.{mutant.module}"
    if name in sys.modules:
        raise MutantError(f"{mutant.name}: {name} is imported already; break rules in a fresh process.")
    sys.meta_path.insert(0, _Finder(name, mutant.code()))


class _Finder(MetaPathFinder):
    """Finds one module, and gives it other code."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._code)
        return spec


class _Loader(SourceFileLoader):
    """Loads the mutant; what Python has compiled of the true source is neither read nor written."""

    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
