"""The one-command local stack: a real PostgreSQL, a real Valkey, and everything of ours, without Docker or root.

    settings_file   what a newcomer need not choose: ports, secrets and URLs, generated once and kept
    binaries        where PostgreSQL's and Valkey's programs are, and who may run them
    servers         PostgreSQL and Valkey: started, awaited, stopped
    processes       one child process, tied to its parent's life
    preflight       what would keep it from starting
    stack           which processes, in which order; keeps them alive and stops them
    control         what the commands say to a stack that runs
    demo            three messages on their whole way

Nothing here loads Django: the stack must start, and explain itself, when the application can't.
"""


class LocalError(Exception):
    """The local stack can't do what was asked. The text is one sentence for a person: what is wrong, what to do."""
