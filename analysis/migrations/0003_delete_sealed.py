"""A locked plan is not deleted either, by whatever way."""

from django.db import migrations

from study.sealing import Seal, sealing

LOCKED_PLAN = Seal(
    "analysis_plan_sealed_delete",
    "analysis_analysisplan",
    "DELETE",
    "OLD.locked_at IS NOT NULL",
    "a locked analysis plan does not change",
)


class Migration(migrations.Migration):
    dependencies = [("analysis", "0002_recorded")]

    operations = [sealing([LOCKED_PLAN])]
