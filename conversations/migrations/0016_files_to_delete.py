from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0015_what_the_lists_ask"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="media",
            name="only_waiting_media_has_a_next_attempt",
        ),
        migrations.AddConstraint(
            model_name="media",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_attempt_at__isnull", False), ("status", "waiting")),
                    models.Q(("next_attempt_at__isnull", True), ("status", "stored")),
                    models.Q(("file", ""), ("next_attempt_at__isnull", True), ("status", "missing")),
                    models.Q(
                        ("next_attempt_at__isnull", False),
                        ("status", "missing"),
                        models.Q(("file", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="media_to_fetch_or_to_delete_has_a_next_attempt",
            ),
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False), ("status", "missing")),
                fields=["next_attempt_at"],
                name="media_to_delete",
            ),
        ),
    ]
