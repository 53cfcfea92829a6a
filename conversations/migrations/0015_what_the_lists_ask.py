from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0014_redaction"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="message",
            name="messages_to_look_after",
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                models.OrderBy(models.F("last_message_at"), descending=True, nulls_last=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("test", False), ("unread_count__gt", 0)),
                name="conversations_unread",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("test", True)), fields=["-created_at", "-id"], name="messages_of_tests"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("status__in", ["failed", "undelivered", "unresolved", "expired"]), ("test", False)),
                fields=["-updated_at", "-id"],
                include=("status", "type", "error_code"),
                name="messages_to_look_after",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("error_code", "recipient_opted_out")),
                fields=["-updated_at", "-id"],
                name="messages_refused_by_opt_out",
            ),
        ),
    ]
