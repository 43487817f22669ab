"""Name things as the code does: requests for responses, and the instructions of a task."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import annotate.models.labeling.task


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0017_prompt_changes"),
    ]

    operations = [
        migrations.RenameModel("AnswerRequest", "ResponseRequest"),
        migrations.RenameField("Task", "brief", "task_instructions"),
        migrations.AlterField(
            model_name="responserequest",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="response_requests", to="annotate.project"
            ),
        ),
        migrations.AlterField(
            model_name="responserequest",
            name="prompt",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="response_requests", to="annotate.prompt"
            ),
        ),
        migrations.AlterField(
            model_name="responserequest",
            name="requested_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="response_requests",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="responserequest",
            name="responses",
            field=models.ManyToManyField(blank=True, related_name="response_requests", to="annotate.response"),
        ),
        migrations.AlterField(
            model_name="queuecursor",
            name="kind",
            field=models.CharField(
                blank=True,
                choices=annotate.models.labeling.task.task_kind_choices,
                help_text="The one kind of task wanted for now; empty for any.",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="kind",
            field=models.CharField(
                choices=annotate.models.labeling.task.task_kind_choices, default="compare", max_length=12
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="keys",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Keys that this person chose: {action: key}; the others have their defaults.",
            ),
        ),
    ]
