"""All mutants, in the order of the rules that they break."""

from __future__ import annotations

from typing import Final

from support.proof.catalogue.changes import CHANGES
from support.proof.catalogue.filters import FILTERS
from support.proof.catalogue.further import FURTHER
from support.proof.catalogue.history import HISTORY
from support.proof.catalogue.lives import LIVES
from support.proof.catalogue.misfits import MISFITS
from support.proof.catalogue.people import PEOPLE
from support.proof.catalogue.placed import PLACED
from support.proof.catalogue.sinks import SINKS
from support.proof.catalogue.sources import SOURCES
from support.proof.catalogue.values import VALUES
from support.proof.catalogue.writes import WRITES
from support.proof.mutants import Mutant, MutantError

MUTANTS: Final = (
    *CHANGES,
    *LIVES,
    *WRITES,
    *SOURCES,
    *SINKS,
    *VALUES,
    *HISTORY,
    *MISFITS,
    *PEOPLE,
    *FILTERS,
    *PLACED,
    *FURTHER,
)


def mutant_named(name: str) -> Mutant:
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise MutantError(f"no mutant is called {name!r}; they are: {', '.join(each.name for each in MUTANTS)}")
