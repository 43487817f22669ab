from typing import Any

from django.db import migrations

BATCH = 1_000


def mark_tasks_with_edits(apps: Any, schema_editor: Any) -> None:
    """Few responses are edits, and their index finds them."""
    models = {name: apps.get_model("annotate", name) for name in ("TaskResponse", "Task")}
    database = schema_editor.connection.alias
    edits = models["TaskResponse"].objects.using(database).filter(response__edited_from__isnull=False)
    tasks = sorted(set(edits.values_list("task_id", flat=True)))
    for start in range(0, len(tasks), BATCH):
        models["Task"].objects.using(database).filter(pk__in=tasks[start : start + BATCH]).update(has_edits=True)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0028_work_rules")]
    operations = [migrations.RunPython(mark_tasks_with_edits, migrations.RunPython.noop)]
