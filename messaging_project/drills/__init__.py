"""Drills: what must never break is broken on purpose, on the real stack, under load.

Each starts from a stack in a temporary directory (PostgreSQL, a Valkey without persistence, gunicorn, a worker process
for each queue under the supervisor, sweeper, beat, and the sandbox with its ledger on disk), loads it, injects its
fault and then compares three books: what the client was answered 2xx for, what stands in the database, and what the
provider holds. `sabotage` breaks the product itself, to see that the drills see it.

    make drill                          all of them, then the sabotage
    make drill-short                    the few that catch most
    make drill DRILL=worker-kill SEED=7 one, with the dice of an earlier run
"""
