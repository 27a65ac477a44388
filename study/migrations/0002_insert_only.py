from django.db import migrations

from study.insert_only import insert_only


class Migration(migrations.Migration):
    dependencies = [("study", "0001_initial")]

    operations = [
        insert_only(
            "study_image",
            "study_referencestandard",
            "study_referencefinding",
            "study_assignment",
            "study_readevent",
            "study_response",
            "study_mark",
            "study_transcript",
            "study_assistanceoutput",
            "study_assistancereveal",
            "study_auditentry",
        )
    ]
