"""Say which schemas the numbers of a result may be of. Changes no column, and makes the triggers anew all the same."""

from django.db import migrations, models

from study.insert_only import insert_only

guard = insert_only("analysis_analysisresult")


class Migration(migrations.Migration):
    dependencies = [("analysis", "0003_delete_sealed")]

    operations = [
        migrations.RunPython(guard.reverse_code, guard.code),
        migrations.AlterField(
            model_name="analysisresult",
            name="numbers",
            field=models.JSONField(help_text="gazeroom.analysis/2, or /1 of results made earlier"),
        ),
        insert_only("analysis_analysisresult"),
    ]
