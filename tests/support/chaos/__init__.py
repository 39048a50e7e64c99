"""
Chaos: the five real processes under load from stock clients, one fault after the other, and a judge of its own.

    plan.py       which faults come in which order: from the seed alone   } pure
    journal.py    what each editor wrote, and what may stand in the end   }
    judge.py      both sides against the journal and each other           }
    fields.py     who edits which field, and with what values             }
    stage.py      servers, proxies and processes in one folder
    proxy.py      what stands between processes and servers, and can cut, stall and delay
    servers.py    a server that can be suspended, killed and started again
    crew.py       the five processes, started again when they end
    striking.py   carrying a fault out, and taking it back
    hands.py      the clients of an editor, and the journal that sees every edit
    editors.py    people and applications
    events.py     platform events that are published meanwhile, and what became of each
    outbox.py     documents that the sync publishes as platform events meanwhile, and what became of each
    watching.py   canaries, readiness and quiet: when everything is well again
    reading.py    what stands on both sides and in the topics, by stock clients
    verifying.py  what `salmon verify` says, for the judge to compare with
    results.py    the verdict as JSON, and the file that gathers runs

`tests/chaos/chaos.py` plays one run: `make chaos SECONDS=600 SEED=1 STACK=embedded`.
"""
