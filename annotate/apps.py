from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate.labeling import task_kinds
        from annotate.labeling.task_kinds import chat, compare, demonstrate, rate, write_prompt

        # In the order in which pages list them.
        for module in (compare, demonstrate, write_prompt, rate, chat):
            task_kinds.register(module.KIND)
