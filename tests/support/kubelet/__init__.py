"""
A small Kubernetes of the tests' own: it runs the connectors of deploy/kubernetes as pods would run.

    manifests  what a manifest says of a pod: command, environment, files, probes, times, replicas
    pods       one pod: a process with its own folder, address and environment, which its probes restart
    cluster    the controllers: replicas on nodes, a rolling upgrade, a node that is lost

Nothing that stands in a manifest is typed again here. What differs from a cluster: a pod's files are in a folder of its own instead of
at the root (so paths are translated), its address is one of 127.0.0.0/8, and its host has no name of its own (so
SALMON_ORDINAL says the pod's number).
"""
