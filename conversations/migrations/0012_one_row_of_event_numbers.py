from django.db import migrations, models

CONTINUE = """
SELECT setval('conversations_event_number', 1 + GREATEST(
    (SELECT COALESCE(max(id), 0) FROM conversations_messageevent),
    (SELECT COALESCE(max(id), 0) FROM conversations_conversationevent)))"""


CONTINUE_EACH = """
SELECT setval(pg_get_serial_sequence('conversations_messageevent', 'id'),
    1 + (SELECT COALESCE(max(id), 0) FROM conversations_messageevent));
SELECT setval(pg_get_serial_sequence('conversations_conversationevent', 'id'),
    1 + (SELECT COALESCE(max(id), 0) FROM conversations_conversationevent))"""
LOCK = "LOCK TABLE conversations_messageevent, conversations_conversationevent IN ACCESS EXCLUSIVE MODE"


def next_event_number():
    return models.Func(template="nextval('conversations_event_number')", output_field=models.BigIntegerField())


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0011_indexes_of_one_question"),
    ]

    operations = [
        migrations.RunSQL(LOCK, migrations.RunSQL.noop),
        migrations.RunSQL("CREATE SEQUENCE conversations_event_number", "DROP SEQUENCE conversations_event_number"),
        migrations.RunSQL(CONTINUE, CONTINUE_EACH),
        *(
            migrations.AlterField(
                model_name=name,
                name="id",
                field=models.BigIntegerField(
                    db_default=next_event_number(), editable=False, primary_key=True, serialize=False
                ),
            )
            for name in ("messageevent", "conversationevent")
        ),
    ]
