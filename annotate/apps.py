from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save


class AnnotateConfig(AppConfig):
    name = "annotate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate.data.text_search import search_index
        from annotate.labeling import task_kinds
        from annotate.labeling.task_kinds import chat, compare, demonstrate, rate, write_prompt
        from annotate.models import User
        from annotate.people import api_tokens, notices
        from annotate.quality.review import waiting_tasks

        # In the order in which pages list them.
        for module in (compare, demonstrate, write_prompt, rate, chat):
            task_kinds.register(module.KIND)
        notices.register(waiting_tasks.of_review)
        post_save.connect(api_tokens.close_with_account, sender=User, dispatch_uid="annotate.api_tokens")
        post_migrate.connect(search_index.ensure_triggers, sender=self)
