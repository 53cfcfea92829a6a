from django.db import migrations, models
from django.db.models.functions import Cast

# A transaction's number as a snapshot that shows it and all before it.
SINCE = """
UPDATE webhooks_subscription SET since = (since_transaction + 1)::text || ':' || (since_transaction + 1)::text || ':'"""
KEEP = """
CREATE TEMPORARY TABLE told_so_far ON COMMIT DROP AS
SELECT (min(transaction_number) + 1)::text AS number FROM webhooks_outboxposition WHERE transaction_number > 2"""
GO_ON = """
INSERT INTO webhooks_outboxposition (id, told, reading, event_id)
SELECT 1, number || ':' || number || ':', number || ':' || number || ':', 0 FROM told_so_far WHERE number IS NOT NULL"""


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0012_one_row_of_event_numbers"),
        ("webhooks", "0004_index_of_what_is_due"),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="since",
            field=models.TextField(
                db_default=Cast(
                    models.Func(function="pg_current_snapshot", output_field=models.TextField()), models.TextField()
                ),
                editable=False,
            ),
        ),
        migrations.RunSQL(SINCE, migrations.RunSQL.noop),
        migrations.RemoveField(model_name="subscription", name="since_transaction"),
        migrations.AddField(
            model_name="subscription", name="enabled_at", field=models.DateTimeField(editable=False, null=True)
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
        migrations.DeleteModel(name="OutboxPosition"),
        migrations.CreateModel(
            name="OutboxPosition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("told", models.TextField(default="3:3:")),
                ("reading", models.TextField(default="3:3:")),
                ("event_id", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.RunSQL(GO_ON, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="delivery",
            name="leased_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                fields=["subscription"],
                condition=models.Q(("leased_until__isnull", False)),
                name="deliveries_under_way",
            ),
        ),
    ]
