from django.db import migrations, models

# What a copy can't have: the cluster it is in, or the database, or this table. A replica has all three.
IDENTITY = """
CREATE FUNCTION conversations_identity() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system()) || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/'
        || 'conversations_databaseidentity'::regclass::oid;
END $$"""
IS_COPY = """
CREATE FUNCTION conversations_is_copy() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM conversations_databaseidentity WHERE identity <> conversations_identity());
END $$"""
AT_HOME = """
INSERT INTO conversations_databaseidentity (id, identity, numbers_of)
VALUES (1, conversations_identity(), conversations_identity())"""


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
        migrations.RunSQL(IDENTITY, "DROP FUNCTION conversations_identity"),
        migrations.RunSQL(IS_COPY, "DROP FUNCTION conversations_is_copy"),
        migrations.RunSQL(AT_HOME, migrations.RunSQL.noop),
    ]
