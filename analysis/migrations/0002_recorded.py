"""A result is recorded once; a plan changes until it is locked. The database itself holds to both."""

from django.db import migrations

from study.insert_only import insert_only

SENTENCE = "a locked analysis plan does not change"


def seal(apps, editor):
    if editor.connection.vendor == "sqlite":
        editor.execute(
            'CREATE TRIGGER "analysis_plan_sealed" BEFORE UPDATE ON "analysis_analysisplan" '
            f"WHEN OLD.locked_at IS NOT NULL BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
        )
        return
    editor.execute(
        'CREATE FUNCTION "analysis_plan_sealed"() RETURNS trigger AS $$ BEGIN IF OLD.locked_at IS NOT NULL THEN '
        f"RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation'; "
        "END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
    )
    editor.execute(
        'CREATE TRIGGER "analysis_plan_sealed" BEFORE UPDATE ON "analysis_analysisplan" '
        'FOR EACH ROW EXECUTE FUNCTION "analysis_plan_sealed"()'
    )


def unseal(apps, editor):
    if editor.connection.vendor == "sqlite":
        editor.execute('DROP TRIGGER IF EXISTS "analysis_plan_sealed"')
        return
    editor.execute('DROP TRIGGER IF EXISTS "analysis_plan_sealed" ON "analysis_analysisplan"')
    editor.execute('DROP FUNCTION IF EXISTS "analysis_plan_sealed"()')


class Migration(migrations.Migration):
    dependencies = [("analysis", "0001_initial"), ("study", "0003_sealed")]

    operations = [insert_only("analysis_analysisresult"), migrations.RunPython(seal, unseal)]
