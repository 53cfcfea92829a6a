from django.db import migrations, models

SOURCES = [
    ("keyword", "Texted STOP"),
    ("provider", "The provider blocks it (Twilio 21610)"),
    ("unsubscribe", "Unsubscribed at SendGrid"),
    ("spam_report", "Reported as spam"),
    ("bounce", "The mailbox does not exist"),
    ("one_click", "One-click unsubscribe"),
    ("staff", "A member of staff"),
    ("client", "An API client"),
]


class Migration(migrations.Migration):
    dependencies = [("conversations", "0017_earlier_provider_ids")]

    operations = [
        migrations.AlterModelOptions(
            name="notreached",
            options={
                "default_permissions": ("view",),
                "verbose_name": "not reached",
                "verbose_name_plural": "not reached",
            },
        ),
        migrations.AlterField(
            model_name="message",
            name="looks",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, verbose_name="lookups at the provider without a result"
            ),
        ),
        migrations.AlterField(
            model_name="optout",
            name="source",
            field=models.CharField(choices=SOURCES, max_length=11),
        ),
        migrations.AlterField(
            model_name="optout",
            name="lifted_by",
            field=models.CharField(blank=True, choices=[("keyword", "Texted START"), *SOURCES[1:]], max_length=11),
        ),
    ]
