from django.db import migrations

from study.sealing import SEALS, sealing


class Migration(migrations.Migration):
    dependencies = [("study", "0002_insert_only")]

    operations = [sealing(SEALS)]
