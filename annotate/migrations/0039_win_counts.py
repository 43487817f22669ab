"""Counts of who wins against whom: all sums are computed anew, and those that are there stay in use until then."""

from django.db import migrations, models
from django.db.models import Q


def recompute(apps, schema_editor):
    States = apps.get_model("annotate", "MeasuresState")
    # What a computation that is under way has folded so far lacks the new counts.
    States.objects.filter(Q(recompute_after=None) | Q(recompute_after__gt=0)).update(recompute_after=0)


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0038_api_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='measuresstate',
            name='counted_authors',
            field=models.JSONField(default=list, editable=False, help_text='Numbers of the models whose responses are counted by name.'),
        ),
        migrations.AlterField(
            model_name='measuresums',
            name='cut',
            field=models.CharField(choices=[('project', 'Nothing else'), ('labeler', 'Labeler'), ('segment', 'Use case and language'), ('both', 'Labeler, use case and language'), ('wins', 'Who wins'), ('wins_by', 'Who wins by use case and language')], max_length=7),
        ),
        migrations.RunPython(recompute, migrations.RunPython.noop),
    ]
