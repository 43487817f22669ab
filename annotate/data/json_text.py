"""JSON from outside: texts that a database can hold, each key once, numbers finite."""

import json
from typing import Any, NoReturn

from django.utils.translation import gettext as _

from annotate.data.text import ESCAPED_NUL
from annotate.errors import Refused


def parsed(body: bytes) -> Any:
    """Raises Refused (400) with a sentence."""
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError(_("it begins with a byte order mark"))
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_each_key_once)
        if "\\u" in text:
            # Only an escape can bring half of a surrogate pair, or NUL.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
            if ESCAPED_NUL.search(text):
                raise ValueError(_("a text contains NUL"))
    except UnicodeDecodeError:
        reason = _("it isn’t UTF-8")
    except UnicodeEncodeError:
        reason = _("a text contains half of a surrogate pair")
    except RecursionError:
        reason = _("it is nested too deeply")
    except ValueError as error:
        reason = str(error)[:200]
    else:
        return value
    raise Refused(_("The body isn’t JSON that can be kept: %(reason)s.") % {"reason": reason}, status=400)


def _no_number(name: str) -> NoReturn:
    raise ValueError(_("%(name)s is no number of JSON") % {"name": name})


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(_("an object has a key twice"))
    return found
