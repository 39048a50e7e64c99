"""Salmon's parts at hand, without a server or a process: brokers, registries and sides in memory."""
