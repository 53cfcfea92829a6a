from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0014_redaction"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="message",
            name="messages_to_look_after",
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
    ]
