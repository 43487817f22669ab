"""Settings and stop reasons of rows under the names that the training commands have today."""

from django.db import migrations

NAMES = {
    'answer_temperature': 'generation_temperature',
    'answers': 'num_generated',
    'ema': 'ema_decay',
    'exact': 'batch_invariant',
    'final_rate': 'min_lr_ratio',
    'flat_phases': 'zero_variance_patience',
    'format_must': 'required_pattern',
    'format_must_not': 'forbidden_pattern',
    'head_start': 'head_init',
    'judge_tries': 'judge_retries',
    'judgments': 'duplicate_judgments',
    'keep_best': 'load_best_at_end',
    'kl_ceiling': 'max_kl',
    'length_price': 'length_penalty_coef',
    'memory_plan': 'share_base_weights',
    'micro_batch_tokens': 'max_tokens_per_forward',
    'missing_eos': 'missing_eos_mode',
    'seen_prompts': 'reward_train_overlap',
    'turns': 'loss_on',
    'value_model': 'value_init',
    'warmup': 'warmup_ratio',
}
VALUES = {('memory_plan', 'separate'): 'never', ('memory_plan', 'shared'): 'always', ('ties', 'half'): 'soft'}
STOPPED_BY = {'kl_ceiling': 'max_kl', 'flat_phases': 'zero_variance_patience'}
FIELDS = (('TrainingRun', 'config'), ('LoopPolicy', 'sampling'), ('LoopPolicy', 'reward_config'), ('LoopPolicy', 'ppo_config'))


def current(settings):
    return {
        NAMES.get(name, name): VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def rename_settings(apps, schema_editor):
    for model_name, field in FIELDS:
        model = apps.get_model('rlhf', model_name)
        for pk, stored in model.objects.values_list('pk', field).iterator(chunk_size=500):
            if isinstance(stored, dict) and (renamed := current(stored)) != stored:
                model.objects.filter(pk=pk).update(**{field: renamed})
    runs = apps.get_model('rlhf', 'TrainingRun')
    stopped = runs.objects.filter(result__stopped_by__in=list(STOPPED_BY))
    for pk, result in stopped.values_list('pk', 'result').iterator(chunk_size=500):
        runs.objects.filter(pk=pk).update(result=result | {'stopped_by': STOPPED_BY[result['stopped_by']]})


class Migration(migrations.Migration):
    dependencies = [
        ('rlhf', '0006_promotion_history'),
    ]

    operations = [migrations.RunPython(rename_settings, migrations.RunPython.noop)]
