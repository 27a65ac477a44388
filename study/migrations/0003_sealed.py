from django.db import migrations

from study.sealing import seal, unseal


class Migration(migrations.Migration):
    dependencies = [("study", "0002_insert_only")]

    operations = [migrations.RunPython(seal, unseal)]
