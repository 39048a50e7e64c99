"""
The servers of one machine: what `salmon dev up`, `salmon demo` and the tests run on.

    stack.py       all of them in one data folder, in the background: the callers' view
    broker.py      a Kafka-protocol broker from a wheel          } the embedded stack
    mongod.py      a real mongod from a wheel, as a replica set  } (needs nothing but Python)
    registry.py    our own small schema registry                 }
    jvm.py         Apache Kafka and Apicurio Registry, by Maven  (the real stack: needs Java)

These are tools for developers: they listen on 127.0.0.1 only, and nothing of the product imports them but the
commands. The product meets them as it meets any other server: by address.
"""
