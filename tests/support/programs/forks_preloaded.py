"""What connectors import, imported once: see support.programs.forks."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import salmon

# Rooms of other programs.
_OTHERS = ("demo", "devstack", "match", "simulator", "verify")
# Libraries that are imported only where they are needed.
_LIBRARIES = ("confluent_kafka", "grpc", "pymongo", "requests", "rocksdict", "simple_salesforce", "uvicorn")

for found in pkgutil.walk_packages(salmon.__path__, "salmon."):
    if found.name.split(".")[1] not in _OTHERS and not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for name in _LIBRARIES:
    importlib.import_module(name)
gc.collect()
gc.freeze()  # forks share its memory
