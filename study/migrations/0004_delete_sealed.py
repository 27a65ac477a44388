from django.db import migrations

from study.sealing import DELETE_SEALS, sealing


class Migration(migrations.Migration):
    dependencies = [("study", "0003_sealed")]

    operations = [sealing(DELETE_SEALS)]
