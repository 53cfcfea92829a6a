from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0013_database_identity"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="redacted_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(
                    ("redacted_at__isnull", True),
                    (
                        "status__in",
                        [
                            "canceled",
                            "delivered",
                            "expired",
                            "failed",
                            "received",
                            "sent",
                            "undelivered",
                            "unresolved",
                        ],
                    ),
                ),
                fields=["type", "updated_at"],
                name="messages_to_redact",
            ),
        ),
        migrations.AddIndex(
            model_name="optout",
            index=models.Index(
                condition=models.Q(("lifted_at__isnull", True), ("their_address__startswith", "redacted:")),
                fields=["their_address"],
                name="opt_outs_by_pseudonym",
            ),
        ),
    ]
