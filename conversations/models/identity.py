"""Which database this is: the one that its rows were written in, or a copy that was restored from a dump of it."""

from typing import ClassVar

from django.db import connection, models

# Whether the rows came from another database. It names no row of the question that it stands in, so it is answered once
# for each statement; as a function it costs no planning.
IS_COPY = "conversations_is_copy()"


class DatabaseIdentityQuerySet(models.QuerySet["DatabaseIdentity"]):
    """How a copy is told from its original, and becomes one itself."""

    def is_copy(self) -> bool:
        """Say whether this database was restored from a dump, and nobody has run `manage.py after_restore` since."""
        return bool(_answer(f"SELECT {IS_COPY}"))

    def current(self) -> str:
        """Return the identity that this database has, whatever its rows say."""
        return str(_answer("SELECT conversations_identity()"))

    def has_own_numbers(self) -> bool:
        """Say whether the numbers of transactions in the timelines are this database's own."""
        return not self.exclude(numbers_of=self.current()).exists()

    def take_numbers(self) -> None:
        """Say that the numbers of transactions in the timelines are this database's own from now on."""
        self.update(numbers_of=self.current())

    def take_home(self) -> None:
        """Let this database be no copy any more."""
        self.update(identity=self.current())


def _answer(question: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


class DatabaseIdentity(models.Model):
    """The identity of the database that the rows beside this one were written in. There is one.

    It names the cluster, which replicas share with it, the database in that, and this very table. A dump carries the
    row along and whoever restores it makes the table anew, so that the two differ in a copy. What copies a cluster's
    files (a base backup, a snapshot of a disk) carries all three along.
    https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
    """

    identity = models.TextField()
    numbers_of = models.TextField()

    objects: ClassVar[models.Manager["DatabaseIdentity"]] = DatabaseIdentityQuerySet.as_manager()

    def __str__(self) -> str:
        return self.identity
