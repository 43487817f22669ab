"""A Hub by its own client: where it is, whose token is sent, and why it refuses, as sentences without the token.

`huggingface_hub` is imported where it is used: a web process never does. HF_ENDPOINT names another Hub than
huggingface.co. A token is read from an environment variable of the process at work, by its name.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import Refused

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TOKEN_VARIABLE = re.compile(r"HF_[A-Z0-9_]{1,60}", re.ASCII)
"""A token of the Hub is sent to the Hub: no other secret of the machine can be named."""
PUBLIC = "https://huggingface.co"


def check_repository(repository: str) -> None:
    """Raises Refused (400)."""
    if not REPOSITORY.fullmatch(repository):
        raise Refused(_("A repository is named OWNER/NAME."), status=400)


def check_token_variable(variable: str) -> None:
    """Raises Refused (400) for another name than a Hub's token may have; empty means that no token is sent."""
    if variable and not TOKEN_VARIABLE.fullmatch(variable):
        raise Refused(_("The token’s environment variable begins with HF_, such as HF_TOKEN."), status=400)


def token_in(variable: str) -> str:
    """The token in an environment variable, or nothing for no variable. Raises Refused where it isn't set."""
    check_token_variable(variable)
    token = os.environ.get(variable, "").strip() if variable else ""
    if variable and not token:
        raise Refused(
            _("The environment variable %(variable)s is not set for this worker: it must hold the token.")
            % {"variable": variable},
            status=400,
        )
    return token


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")


def api(token: str) -> Any:
    """The client's door to the Hub. Raises Refused where the network is switched off for it."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise Refused(_("The Hub is switched off on this machine (HF_HUB_OFFLINE)."), status=503)
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token or False)


@contextmanager
def refusals(repository: str, *, token: str, revision: str = "") -> Iterator[None]:
    """What the Hub or the network refuses, as Refused with a sentence."""
    from httpx2 import HTTPError as ConnectionFailed
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise Refused(
            _("%(repository)s is gated: accept its conditions on the Hub, and name a token that may read it.")
            % {"repository": repository}
        ) from None
    except errors.RevisionNotFoundError:
        raise Refused(
            _("%(repository)s has no revision %(revision)s.") % {"repository": repository, "revision": revision}
        ) from None
    except errors.RepositoryNotFoundError:
        raise Refused(_not_found(repository, token)) from None
    except errors.HfHubHTTPError as error:
        raise Refused(_reply(repository, token, getattr(error.response, "status_code", 0))) from None
    except (ConnectionFailed, ConnectionError):
        raise Refused(
            _("The Hub at %(address)s can’t be reached from this machine.") % {"address": endpoint()}
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        if token:
            reason = reason.replace(token, "***")
        raise Refused(
            _("The Hub’s reply about %(repository)s can’t be read (%(reason)s).")
            % {"repository": repository, "reason": reason}
        ) from None


def _not_found(repository: str, token: str) -> str:
    if token:
        return _("There is no data set %(repository)s on the Hub, or the token may not see it.") % {
            "repository": repository
        }
    return _("There is no data set %(repository)s on the Hub, or it is private: name a token that may read it.") % {
        "repository": repository
    }


def _reply(repository: str, token: str, status: int) -> str:
    if status == 401 and token:
        return _("The Hub does not know the token.")
    if status in (401, 404):
        return _not_found(repository, token)
    if status == 403:
        return _("The token may not do this at %(repository)s.") % {"repository": repository}
    return _("The Hub replied with status %(status)s about %(repository)s.") % {
        "status": status, "repository": repository,
    }  # fmt: skip
