from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0012_one_row_of_event_numbers"),
        ("webhooks", "0004_index_of_what_is_due"),
    ]

    operations = [
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
        migrations.RemoveField(model_name="subscription", name="since_transaction"),
        migrations.AddField(
            model_name="subscription",
            name="since_event",
            field=models.BigIntegerField(
                db_default=models.Func(
                    template="nextval('conversations_event_number')", output_field=models.BigIntegerField()
                ),
                editable=False,
            ),
        ),
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
