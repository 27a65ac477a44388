import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from study.insert_only import insert_only


class Migration(migrations.Migration):
    dependencies = [
        ("capture", "0004_imported_gaze"),
        ("study", "0005_audit_stations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RenameField("calibration", "affine", "correction"),
        migrations.AlterField(
            model_name="calibration",
            name="correction",
            field=models.JSONField(
                help_text='{"left": [6 or 12 coefficients] | null, "right": …}, normalised display space.'
            ),
        ),
        migrations.AddField(
            model_name="calibration",
            name="fit",
            field=models.JSONField(
                default=dict,
                help_text='{"left": {"model", "points", "held_out_deg": {"affine", "quadratic"}}, "right": …}.',
            ),
        ),
        migrations.AddField(
            model_name="calibration",
            name="repeats",
            field=models.ForeignKey(
                help_text="The calibration whose bad points were measured again; the other points are taken over from it.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="repeated_by",
                to="capture.calibration",
            ),
        ),
        migrations.AddField(
            model_name="calibration",
            name="retaken",
            field=models.JSONField(
                default=dict, help_text='{"calibration": [[x, y]…], "validation": […]}: those points.'
            ),
        ),
        migrations.CreateModel(
            name="DriftCheck",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("display", models.JSONField()),
                ("drift_deg", models.FloatField(null=True)),
                ("drift_x_deg", models.FloatField(null=True)),
                ("drift_y_deg", models.FloatField(null=True)),
                ("precision_sd_deg", models.FloatField(null=True)),
                ("data_loss", models.FloatField()),
                ("max_drift_deg", models.FloatField()),
                ("point", models.JSONField(help_text="Result of the target.")),
                (
                    "samples",
                    models.JSONField(help_text="What the tracker said while the target was looked at, raw."),
                ),
                ("passed", models.BooleanField()),
                ("sentence", models.CharField(max_length=300)),
                (
                    "calibration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="drift_checks",
                        to="capture.calibration",
                    ),
                ),
                (
                    "enrolment",
                    models.ForeignKey(
                        help_text="Whose threshold held.",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="drift_checks",
                        to="study.enrolment",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="drift_checks",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "indexes": [models.Index(fields=["calibration", "-created_at"], name="drift_of_calibration")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("passed", False),
                            models.Q(("drift_deg__isnull", False), ("drift_deg__lte", models.F("max_drift_deg"))),
                            _connector="OR",
                        ),
                        name="passed_drift_is_within_threshold",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("data_loss__gte", 0), ("data_loss__lte", 1)), name="drift_loss_is_a_share"
                    ),
                ],
            },
        ),
        # SQLite makes a table anew to change a column, and its triggers stay behind with the old one.
        insert_only("capture_calibration", "capture_driftcheck"),
    ]
