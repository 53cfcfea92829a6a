"""How often Python searches for objects that hold only each other, in processes that live long."""

import gc

# New objects before a search of the youngest, then searches of one generation before one of the next. Python's own 700
# and 10 are for scripts: a worker with hundreds of calls in flight searched through all of them again and again.
THRESHOLDS = 10_000, 20, 20


def search_seldom() -> None:
    """Leave all that is there by now, code and settings, out of every search, and search less often.

    To be called once all is imported. What it saves stands in ADR 26.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
