"""What a person's programs ask at this moment, deleted on request: the chats that wait for the live worker."""

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from annotate.models import User
from annotate.people.deletion import personal_data
from rlhf.models import GatewayReply


def register() -> None:
    personal_data.register_rows(
        "gateway_replies", gettext_lazy("Requests of the gateway that wait for the live worker"), 46, _waiting
    )


def _waiting(person: User) -> QuerySet[GatewayReply]:
    """Their worker stops at the next word without the row, and the program hears that there is no reply."""
    return GatewayReply.objects.filter(run__created_by=person)
