"""Rename LoopPolicy to LoopSettings and TaskChoice to AcquisitionScore; further reward models are the role `ensemble`."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


def rename_role(apps, schema_editor):
    apps.get_model("rlhf", "RunInput").objects.filter(role="beside").update(role="ensemble")
    schema_editor.connection.check_constraints()  # PostgreSQL alters no table with checks pending


def restore_role(apps, schema_editor):
    apps.get_model("rlhf", "RunInput").objects.filter(role="ensemble").update(role="beside")
    schema_editor.connection.check_constraints()


class Migration(migrations.Migration):

    dependencies = [
        ("annotate", "0007_exam_draft_version"),
        ("rlhf", "0007_settings_under_standard_names"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="looppolicy", name="loop_policy_random_share_0_to_1"),
        migrations.RemoveConstraint(model_name="looppolicy", name="loop_policy_counts_above_0"),
        migrations.RenameModel(old_name="LoopPolicy", new_name="LoopSettings"),
        migrations.AlterModelOptions(
            name="loopsettings",
            options={"verbose_name": "loop settings", "verbose_name_plural": "loop settings"},
        ),
        migrations.AlterField(
            model_name="loopsettings",
            name="project",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="loop_settings", to="annotate.project"
            ),
        ),
        migrations.AddConstraint(
            model_name="loopsettings",
            constraint=models.CheckConstraint(
                condition=Q(random_share__gte=0, random_share__lte=1), name="loop_settings_random_share_0_to_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="loopsettings",
            constraint=models.CheckConstraint(
                condition=Q(judgments_per_round__gte=1, prompts_per_round__gte=1, tasks_scored__gte=2),
                name="loop_settings_counts_above_0",
            ),
        ),
        migrations.RenameModel(old_name="TaskChoice", new_name="AcquisitionScore"),
        migrations.AlterField(
            model_name="acquisitionscore",
            name="task",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="acquisition_score", to="annotate.task"
            ),
        ),
        migrations.AlterField(
            model_name="acquisitionscore",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="acquisition_scores", to="rlhf.trainingrun"
            ),
        ),
        migrations.RemoveConstraint(model_name="runinput", name="run_input_role_once"),
        migrations.RemoveConstraint(model_name="runinput", name="run_input_beside_once"),
        migrations.RunPython(rename_role, restore_role),
        migrations.AddConstraint(
            model_name="runinput",
            constraint=models.UniqueConstraint(
                condition=~Q(role="ensemble"), fields=("run", "role"), name="run_input_role_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="runinput",
            constraint=models.UniqueConstraint(
                condition=Q(role="ensemble"), fields=("run", "version"), name="run_input_ensemble_once"
            ),
        ),
    ]
