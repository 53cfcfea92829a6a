"""Nothing in the database keeps two requests from making a message each under one Idempotency-Key."""

from typing import Any

from django.db import connection

from messaging_project.settings import *  # noqa: F403
from messaging_project.settings import INSTALLED_APPS as PRODUCTS_APPS

DROP_UNIQUE_CONSTRAINTS = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'conversations_idempotencykey'::regclass AND contype = 'u'
    LOOP EXECUTE format('ALTER TABLE conversations_idempotencykey DROP CONSTRAINT %I', name); END LOOP;
END $$"""


def drop_after_migrating(emit_signal: Any) -> Any:
    """What ends `manage.py migrate`, and takes the constraint away again."""

    def broken(*arguments: Any, **options: Any) -> None:
        emit_signal(*arguments, **options)
        with connection.cursor() as cursor:
            cursor.execute(DROP_UNIQUE_CONSTRAINTS)

    return broken


INSTALLED_APPS = [*PRODUCTS_APPS, "messaging_project.drills.sabotage.Sabotage"]
SABOTAGE = {"django.core.management.commands.migrate:emit_post_migrate_signal": drop_after_migrating}
