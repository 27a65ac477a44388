import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from study.insert_only import insert_only


class Migration(migrations.Migration):

    dependencies = [
        ('capture', '0005_calibration_quality'),
    ]

    operations = [
        migrations.CreateModel(
            name='GazeMeasures',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('inputs', models.JSONField(help_text='SHA-256 of the track, the reference standard, the answers and the assistance; the parameters.')),
                ('inputs_sha256', models.CharField(max_length=64)),
                ('code_version', models.CharField(max_length=64)),
                ('body', models.JSONField(help_text='gazeroom.measures/1')),
                ('track', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='measures', to='capture.gazetrack')),
            ],
            options={
                'verbose_name_plural': 'gaze measures',
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('track', 'inputs_sha256', 'code_version'), name='one_measurement_per_inputs_and_code')],
            },
        ),
        insert_only("capture_gazemeasures"),
    ]
