import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from study.insert_only import insert_only


class Migration(migrations.Migration):
    dependencies = [
        ("capture", "0003_pairing"),
        ("study", "0005_audit_stations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="recording", name="recording_of_a_read_has_one"),
        migrations.AlterField(
            model_name="recording",
            name="kind",
            field=models.CharField(
                choices=[("read", "Read"), ("calibration", "Calibration"), ("imported", "Imported")],
                default="read",
                max_length=11,
            ),
        ),
        migrations.AddConstraint(
            model_name="recording",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "calibration"),
                    models.Q(("kind", "imported"), ("read__isnull", True)),
                    models.Q(("kind", "read"), ("read__isnull", False)),
                    _connector="OR",
                ),
                name="recording_of_a_read_has_one",
            ),
        ),
        migrations.AlterField(
            model_name="gazetrack",
            name="clock_bound_ms",
            field=models.FloatField(help_text="Null for gaze that came mapped into the image.", null=True),
        ),
        migrations.CreateModel(
            name="ImportedGaze",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "reader_code",
                    models.CharField(help_text="A pseudonym; no enrolled reader's.", max_length=32),
                ),
                (
                    "format",
                    models.CharField(
                        choices=[
                            ("xdf", "XDF"),
                            ("bids", "BIDS"),
                            ("reflacx", "REFLACX"),
                            ("egd", "EGD"),
                            ("parquet", "Parquet"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "source_sha256",
                    models.CharField(help_text="Over the names and hashes of its files.", max_length=64),
                ),
                ("files", models.JSONField(help_text="{name in the recording's folder: SHA-256}")),
                (
                    "settings_used",
                    models.JSONField(
                        default=dict,
                        help_text="What the importer was told besides the files: display, place of the image.",
                    ),
                ),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="imported_gaze", to="study.image"
                    ),
                ),
                (
                    "recording",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="imported", to="capture.recording"
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="imported_gaze", to="study.study"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(fields=("study", "source_sha256"), name="one_import_per_source_and_study"),
                    models.CheckConstraint(
                        condition=models.Q(("format__in", ["xdf", "bids", "reflacx", "egd", "parquet"])),
                        name="imported_format_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reader_code", ""), _negated=True), name="imported_gaze_has_reader"
                    ),
                ],
            },
        ),
        # SQLite makes a table anew to change a column, and the new one has no triggers.
        insert_only("capture_gazetrack", "capture_importedgaze"),
    ]
