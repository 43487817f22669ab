"""Sums by week, and of the whole project: added up from the sums by day that are there."""

from datetime import timedelta

from django.db import migrations, models


def add_up(apps, schema_editor):
    States = apps.get_model("annotate", "MeasuresState")
    # A computation from scratch that is under way begins anew: what it has lacks the new sums.
    States.objects.filter(recompute_after__gt=0).update(recompute_after=0)
    for state in States.objects.order_by("pk"):
        for cut in ("labeler", "segment", "both"):
            _add_up_cut(apps.get_model("annotate", "MeasureSums"), state, cut)


def _add_up_cut(Sums, state, cut):
    """Of one week after the other, so that little is held in memory; each is read whole before anything is written."""
    rows = Sums.objects.filter(project=state.project_id, generation=state.generation, cut=cut)
    days = rows.filter(grain="day").order_by()
    starts = list(days.values_list("start", flat=True).distinct())
    for monday in sorted({start - timedelta(days=start.weekday()) for start in starts}):
        added = {}
        for row in list(days.filter(start__range=(monday, monday + timedelta(days=6)))):
            own = (row.labeler_id, row.kind, row.use_case, row.language)
            _add(added, (cut, "week", monday, *own), row.sums)
            if cut == "segment":
                whole = (None, row.kind, "", "")
                _add(added, ("project", "day", row.start, *whole), row.sums)
                _add(added, ("project", "week", monday, *whole), row.sums)
        _write(Sums, state, added)
    if cut == "segment":
        added = {}
        for row in list(rows.filter(grain="month").order_by()):
            _add(added, ("project", "month", row.start, None, row.kind, "", ""), row.sums)
        _write(Sums, state, added)


def _add(added, key, sums):
    total = added.setdefault(key, {})
    for name, count in sums.items():
        total[name] = total.get(name, 0) + count


def _write(Sums, state, added):
    names = ("cut", "grain", "start", "labeler_id", "kind", "use_case", "language")
    found = [
        Sums(
            project_id=state.project_id,
            generation=state.generation,
            judgments=sums.get("judgments", 0),
            milliseconds=sums.get("milliseconds", 0),
            sums=sums,
            **dict(zip(names, key, strict=True)),
        )
        for key, sums in added.items()
    ]
    Sums.objects.bulk_create(found, batch_size=500)


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0034_evaluation_share'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='assignment',
            name='assignment_held_lease',
        ),
        migrations.AlterField(
            model_name='measuresums',
            name='cut',
            field=models.CharField(choices=[('project', 'Nothing else'), ('labeler', 'Labeler'), ('segment', 'Use case and language'), ('both', 'Labeler, use case and language')], max_length=7),
        ),
        migrations.AlterField(
            model_name='measuresums',
            name='grain',
            field=models.CharField(choices=[('day', 'Day'), ('week', 'Week'), ('month', 'Month')], max_length=5),
        ),
        migrations.AlterField(
            model_name='measuresums',
            name='start',
            field=models.DateField(help_text='The day, the Monday of the week, or the first of the month.'),
        ),
        migrations.AddIndex(
            model_name='assignment',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['lease_until'], name='assignment_open_lease'),
        ),
        migrations.RunPython(add_up, migrations.RunPython.noop),
    ]
