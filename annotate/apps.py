from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save


class AnnotateConfig(AppConfig):
    name = "annotate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate.data.text_search import search_index
        from annotate.labeling import task_kinds
        from annotate.models import Task, User
        from annotate.people import api_tokens, notices
        from annotate.quality.review import waiting_tasks

        # Each is the KIND of the module of its name; pages list them in this order.
        for name in Task.Kind.values:
            task_kinds.register(import_module(f"annotate.labeling.task_kinds.{name}").KIND)
        notices.register(waiting_tasks.of_review)
        post_save.connect(api_tokens.close_with_account, sender=User, dispatch_uid="annotate.api_tokens")
        post_migrate.connect(search_index.ensure_triggers, sender=self)
