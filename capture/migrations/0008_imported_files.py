from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("capture", "0007_delivery_permits"),
    ]

    operations = [
        migrations.AlterField(
            model_name="importedgaze",
            name="files",
            field=models.JSONField(help_text="{the format's name of it: SHA-256}"),
        ),
    ]
