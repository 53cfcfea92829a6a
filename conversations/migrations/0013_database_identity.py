from django.db import migrations, models

# As conversations.models.statements has it.
IDENTITY = """
INSERT INTO conversations_databaseidentity (id, identity, numbers_of)
SELECT 1, identity, identity FROM (
    SELECT system_identifier || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/'
        || 'conversations_databaseidentity'::regclass::oid AS identity
    FROM pg_control_system()) AS own"""


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0012_one_row_of_event_numbers"),
    ]

    operations = [
        migrations.CreateModel(
            name="DatabaseIdentity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identity", models.TextField()),
                ("numbers_of", models.TextField()),
            ],
        ),
        migrations.RunSQL(IDENTITY, migrations.RunSQL.noop),
    ]
