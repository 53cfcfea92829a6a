from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0002_channel_clock")]

    operations = [
        migrations.AlterField(model_name="accountstate", name="since", field=models.DateTimeField(null=True)),
    ]
