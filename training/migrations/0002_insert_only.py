from django.db import migrations

from study.insert_only import insert_only


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]

    operations = [
        insert_only("training_datasetrelease", "training_releaseread", "training_trainingstep", "training_promotion")
    ]
