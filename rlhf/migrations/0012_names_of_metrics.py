"""Stored metrics and settings of runs under the names and with the meaning that the training commands have today."""

from django.db import migrations

METRICS = {'divergence_loss': 'kl_loss'}
RESULTS = METRICS | {'answers': 'responses'}
CONFIGS = (('TrainingRun', 'config'), ('LoopSettings', 'ppo_config'))


def rename(apps, metrics, results):
    run_metrics = apps.get_model('rlhf', 'RunMetric')
    for name, new_name in metrics.items():
        run_metrics.objects.filter(name=name).update(name=new_name)
    for model_name, field in (('TrainingRun', 'result'), ('ModelVersion', 'metrics')):
        model = apps.get_model('rlhf', model_name)
        found = model.objects.filter(**{f'{field}__has_any_keys': list(results)})
        for pk, stored in found.values_list('pk', field).iterator(chunk_size=500):
            renamed = {results.get(name, name): value for name, value in stored.items()}
            model.objects.filter(pk=pk).update(**{field: renamed})


def add_judge_retries(apps, count):
    """The setting counted all requests for a grade before it counted those after the first."""
    for model_name, field in CONFIGS:
        model = apps.get_model('rlhf', model_name)
        found = model.objects.filter(**{f'{field}__has_key': 'judge_retries'})
        for pk, stored in found.values_list('pk', field).iterator(chunk_size=500):
            if isinstance(retries := stored['judge_retries'], int):
                model.objects.filter(pk=pk).update(**{field: stored | {'judge_retries': max(0, retries + count)}})


def forwards(apps, schema_editor):
    rename(apps, METRICS, RESULTS)
    add_judge_retries(apps, -1)


def backwards(apps, schema_editor):
    rename(apps, {new: old for old, new in METRICS.items()}, {new: old for old, new in METRICS.items()})
    add_judge_retries(apps, 1)


class Migration(migrations.Migration):
    dependencies = [
        ('rlhf', '0011_loop_aggregation'),
    ]

    operations = [migrations.RunPython(forwards, backwards)]
