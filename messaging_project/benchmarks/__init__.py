"""How fast it is, and how that can be seen again: one file for each question.

A question is asked of the real stack (a durable PostgreSQL, Valkey, gunicorn, a worker process for each queue, the
sandbox) and, in turn with it, of yardsticks on the same machine under the same server. Each side runs three times.
Medians are compared; a row whose runs lost or doubled a message is void. The sandbox reports nothing while they run:
callbacks have questions of their own.

    question    what is measured, against what, and what would do: the arithmetic of a row
    table       the lines for people, and var/bench.json
    field       the stack and the yardsticks, with what a question needs to load and to look at them
    books       what was accepted, against what the providers have
    posting     the client
    yardsticks  what we measure ourselves by: an application of its own, which the product knows nothing of

    make bench                                      everything
    make bench-short                                the ratios, at a fifth of the size
    python -m messaging_project.benchmarks accept   some rows

`staff_pages` asks how long staff wait, of a world of `world`'s, and is a command of its own.
"""
