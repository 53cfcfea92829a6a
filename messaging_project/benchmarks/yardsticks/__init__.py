"""What we measure ourselves by: a Django application of its own, on a database and a broker of its own.

    views   DRF that answers, and DRF that validates and answers
    naive   the whole of it as people write it by hand
    celery  both workers' application, with a task that does nothing

The product neither installs nor routes any of it.
"""
