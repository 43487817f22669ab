"""Times as pages show them: one unambiguous form in the reader's language, in their time zone, which is named."""

import zoneinfo
from datetime import date, datetime, time, timedelta
from functools import cache

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

ZONE_COOKIE = "zone"
"""The browser's time zone (static/hone/hone.js); used where the account names none."""


@cache
def zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def zone_of(account: str, cookie: str) -> zoneinfo.ZoneInfo | None:
    """The account's time zone, else the browser's; None where neither is one."""
    name = next((name for name in (account, cookie) if name in zones()), None)
    return zoneinfo.ZoneInfo(name) if name is not None else None


def moment(value: datetime | None) -> SafeString | str:
    """28 Nov 2026, 14:05 UTC+1 as a <time>; a dash for none. Naive times don't occur: the database keeps UTC."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{} {}</time>',
        value.isoformat(timespec="seconds"),
        timezone.get_current_timezone_name(),
        date_format(local, "DATETIME_FORMAT"),
        offset_name(local.utcoffset() or timedelta()),
    )


def moment_text(value: datetime) -> str:
    """28 Nov 2026, 14:05 UTC+1, where no element can stand."""
    local = timezone.localtime(value)
    return f"{date_format(local, 'DATETIME_FORMAT')} {offset_name(local.utcoffset() or timedelta())}"


def day(value: date | datetime | None) -> SafeString | str:
    """28 Nov 2026 as a <time>; a dash for none."""
    if value is None:
        return "–"
    local = timezone.localtime(value) if isinstance(value, datetime) else value
    return format_html('<time datetime="{}">{}</time>', local.isoformat()[:10], day_text(local))


def written_day(text: str) -> date | None:
    """The day that a date box sends, 2026-11-28; None where it is no day, or of no year that a database takes."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1970 < found.year < 9000 else None


def midnight(value: date) -> datetime:
    """The beginning of the day in the reader's time zone."""
    return timezone.make_aware(datetime.combine(value, time()))


def day_text(value: date) -> str:
    """28 Nov 2026, where no element can stand."""
    return date_format(value, "DATE_FORMAT")


def offset_name(offset: timedelta) -> str:
    """UTC, UTC+1, UTC-3:30. Letters such as CST name several zones."""
    minutes = round(offset.total_seconds() / 60)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'+' if minutes > 0 else '-'}{hours}" + (f":{rest:02}" if rest else "")
