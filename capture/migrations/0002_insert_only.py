from django.db import migrations

from study.insert_only import insert_only


class Migration(migrations.Migration):
    dependencies = [("capture", "0001_initial")]

    operations = [
        insert_only(
            "capture_calibration",
            "capture_recordingtoken",
            "capture_segment",
            "capture_gap",
            "capture_gazetrack",
            "capture_utterance",
        )
    ]
