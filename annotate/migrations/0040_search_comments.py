"""What labelers note beside their judgments is found by the full-text search too."""

from django.db import migrations

NAME = "annotate_judgmentrevision_insert_to_index"
NOTE = (
    "INSERT INTO annotate_prompttoindex (prompt_number) SELECT task.prompt_id FROM annotate_judgment judgment "
    "JOIN annotate_task task ON task.id = judgment.task_id "
    "WHERE judgment.id = NEW.judgment_id AND task.prompt_id IS NOT NULL;"
)


def note_comments(apps, schema_editor):
    """A trigger for those that come, and the prompts of those that are there as waiting."""
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    if is_sqlite:
        schema_editor.execute(
            f"CREATE TRIGGER IF NOT EXISTS {NAME} AFTER INSERT ON annotate_judgmentrevision "
            f"WHEN NEW.comment <> '' OR NEW.notes <> '{{}}' BEGIN {NOTE} END"
        )
    else:
        schema_editor.execute(
            f"CREATE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.comment <> '' OR NEW.notes <> '{{}}'::jsonb THEN {NOTE} END IF; RETURN NULL; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {NAME} AFTER INSERT ON annotate_judgmentrevision FOR EACH ROW EXECUTE FUNCTION {NAME}()"
        )
    nothing = "'{}'" if is_sqlite else "'{}'::jsonb"
    schema_editor.execute(
        "INSERT INTO annotate_prompttoindex (prompt_number) SELECT DISTINCT task.prompt_id "
        "FROM annotate_judgmentrevision revision "
        "JOIN annotate_judgment judgment ON judgment.latest_id = revision.id "
        "JOIN annotate_task task ON task.id = judgment.task_id "
        f"WHERE (revision.comment <> '' OR revision.notes <> {nothing}) AND task.prompt_id IS NOT NULL"
    )


def forget_comments(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {NAME}" + ("" if is_sqlite else " ON annotate_judgmentrevision"))
    if not is_sqlite:
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {NAME}()")


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0039_win_counts'),
    ]

    operations = [
        migrations.RunPython(note_comments, forget_comments),
    ]
