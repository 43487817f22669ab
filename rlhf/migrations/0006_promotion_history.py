"""The history of what was in use, as far as the versions themselves remember it: each kept its last promotion alone."""

from django.db import migrations


def write_history(apps, schema_editor):
    version_model = apps.get_model('rlhf', 'ModelVersion')
    promotion_model = apps.get_model('rlhf', 'Promotion')
    versions = version_model.objects.exclude(promoted_at=None).order_by('project_id', 'promoted_at', 'pk')
    in_use = {}
    for version in list(versions):
        family = version.project_id, version.kind == 'reward'
        _note(promotion_model, version, 'promote', in_use.get(family), version.promoted_at)
        in_use[family] = version
    for (project_id, is_reward), last in in_use.items():
        family = version_model.objects.filter(project_id=project_id, active=True)
        active = (family.filter(kind='reward') if is_reward else family.exclude(kind='reward')).first()
        if active is not None and active.pk != last.pk:
            # What was promoted last is not in use, so it was rolled back from.
            _note(promotion_model, active, 'roll_back', last, None)


def _note(promotion_model, version, verb, replaced, moment):
    made = promotion_model.objects.create(
        version=version, verb=verb, replaced=replaced, by_id=version.promoted_by_id if verb == 'promote' else None
    )
    if moment is not None:
        promotion_model.objects.filter(pk=made.pk).update(created_at=moment)


class Migration(migrations.Migration):

    dependencies = [
        ('rlhf', '0005_promotions_and_capacity'),
    ]

    operations = [
        migrations.RunPython(write_history, migrations.RunPython.noop),
    ]
