import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

TRIGGERS = [
    (table, column, event, row)
    for table, column in (("prompt", "id"), ("response", "prompt_id"))
    for event, row in (("INSERT", "NEW"), ("DELETE", "OLD"))
]


def create_word_index(apps, schema_editor):
    """The full-text index, the triggers that note what is to be indexed, and all that there is as waiting."""
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(
            "CREATE VIRTUAL TABLE annotate_promptwords USING fts5"
            "(words, detail = none, columnsize = 0, tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* M* Co'\")"
        )
        for table, column, event, row in TRIGGERS:
            schema_editor.execute(
                f"CREATE TRIGGER IF NOT EXISTS annotate_{table}_{event.lower()}_to_index AFTER {event} "
                f"ON annotate_{table} "
                f"BEGIN INSERT INTO annotate_prompttoindex (prompt_number) VALUES ({row}.{column}); END"
            )
    else:
        schema_editor.execute(
            "CREATE TABLE annotate_promptwords (prompt_id bigint PRIMARY KEY, words tsvector NOT NULL)"
        )
        schema_editor.execute("CREATE INDEX annotate_promptwords_words ON annotate_promptwords USING gin (words)")
        for table, column, event, row in TRIGGERS:
            name = f"annotate_{table}_{event.lower()}_to_index"
            schema_editor.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"INSERT INTO annotate_prompttoindex (prompt_number) VALUES ({row}.{column}); RETURN NULL; END $$"
            )
            schema_editor.execute(
                f"CREATE TRIGGER {name} AFTER {event} ON annotate_{table} FOR EACH ROW EXECUTE FUNCTION {name}()"
            )
    schema_editor.execute(
        "INSERT INTO annotate_prompttoindex (prompt_number) SELECT id FROM annotate_prompt ORDER BY id"
    )


def drop_word_index(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for table, _column, event, _row in TRIGGERS:
        name = f"annotate_{table}_{event.lower()}_to_index"
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + ("" if is_sqlite else f" ON annotate_{table}"))
        if not is_sqlite:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")
    schema_editor.execute("DROP TABLE annotate_promptwords")


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0026_response_words'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProjectFigures',
            fields=[
                ('project', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='figures', serialize=False, to='annotate.project')),
                ('values', models.JSONField(default=dict)),
                ('marker', models.CharField(blank=True, help_text='What the counts were made from.', max_length=200)),
                ('count_seconds', models.FloatField(default=0.0, help_text='How long counting took.')),
                ('computed_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'project figures',
            },
        ),
        migrations.CreateModel(
            name='PromptToIndex',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prompt_number', models.PositiveBigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name='project',
            name='weekly_judgments',
            field=models.PositiveIntegerField(blank=True, help_text='Judgments planned per week; empty: no plan.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=models.Index(fields=['project', 'use_case'], name='prompt_project_use_case'),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=models.Index(fields=['project', 'language'], name='prompt_project_language'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(fields=['project', '-id'], name='task_project_newest'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(fields=['project', 'kind', 'state'], name='task_project_kind'),
        ),
        migrations.RunPython(create_word_index, drop_word_index),
    ]
