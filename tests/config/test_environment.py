"""Settings: typed, strict, one clear line where one is wrong."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.data_folder.secret_key import stored_secret_key
from config.environment import SILENT_SERVER, Environment, WrongSetting
from tests.conftest import ROOT


def start_with(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with these variables, as a shell would start it."""
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HONE_DATA": str(tmp_path / "data"), **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"HONE_PORT": "80000"},
            "Hone can't start: HONE_PORT is '80000'; it must be a whole number from 1 to 65535.",
        ),
        (
            {"HONE_GPUS": "3", "HONE_GPUS_PER_WORKER": "2"},
            "Hone can't start: HONE_GPUS is 3; it must be a multiple of HONE_GPUS_PER_WORKER.",
        ),
        (
            {"HONE_PORT": "abc"},
            "Hone can't start: HONE_PORT is 'abc'; it must be a whole number from 1 to 65535.",
        ),
        (
            {"DATABASE_URL": "$DB"},
            "Hone can't start: DATABASE_URL starts with '$DB'; it must be {}.".format(
                "postgres://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/FILE"
            ),
        ),
        (
            {"HONE_PROT": "8000"},
            "Hone can't start: HONE_PROT is no setting of Hone; did you mean HONE_PORT?",
        ),
        (
            {"DATABASE_URL": "mysql://root@db/hone"},
            "Hone can't start: DATABASE_URL starts with 'mysql'; it must be {}.".format(
                "postgres://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/FILE"
            ),
        ),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    result = start_with(tmp_path, **variables)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"HONE_HTTPS": "1"}, "max-age=31536000"),
        ({"HONE_HTTPS": "1", "HONE_HSTS": "subdomains"}, "max-age=31536000; includeSubDomains"),
        ({"HONE_HTTPS": "1", "HONE_HSTS": "preload"}, "max-age=31536000; includeSubDomains; preload"),
        ({"HONE_HTTPS": "1", "HONE_HSTS": "off"}, "None"),
        ({"HONE_HSTS": "preload"}, "None"),
    ],
)
def test_what_browsers_are_told_to_remember_is_a_setting(
    tmp_path: Path, variables: dict[str, str], header: str
) -> None:
    """Nobody's other hosts are bound, and nobody is put on a list for months, unless they say so."""
    program = (
        "import django; django.setup(); from django.http import HttpResponse; from django.test import RequestFactory; "
        "from django.middleware.security import SecurityMiddleware as Middleware; "
        "asked = RequestFactory().get('/', secure=True); "
        "print(Middleware(lambda request: HttpResponse())(asked).headers.get('Strict-Transport-Security'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HONE_DATA": str(tmp_path / "data"), **variables}
        | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
    )
    assert (result.stdout.strip(), result.stderr) == (header, "")


def test_no_setting_at_all_starts(tmp_path: Path) -> None:
    result = start_with(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    result = start_with(tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        f"Hone can't start: HONE_DATA is '{tmp_path}/data'; it must be a folder that can be written to (File exists).\n"
    )


@pytest.mark.parametrize("text", ["", " ", "8 000", "-1", "1e3", "0x50", "８０００", "65536", "99999999999999999999"])
def test_whole_numbers(text: str) -> None:
    env = Environment({"HONE_PORT": text})
    if not text.strip():
        assert env.whole_number("HONE_PORT", default=8000, minimum=1, maximum=65535) == 8000
    else:
        with pytest.raises(WrongSetting, match=r"HONE_PORT is .*; it must be a whole number from 1 to 65535"):
            env.whole_number("HONE_PORT", default=8000, minimum=1, maximum=65535)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("FALSE", False)])
def test_flags(text: str, value: bool) -> None:
    assert Environment({"HONE_DEBUG": text}).flag("HONE_DEBUG", default=not value) is value


def test_a_flag_is_not_guessed() -> None:
    with pytest.raises(WrongSetting, match="HONE_DEBUG is 'maybe'"):
        Environment({"HONE_DEBUG": "maybe"}).flag("HONE_DEBUG", default=False)


@pytest.mark.parametrize(
    "url", ["mysql://h/n", "hone", "postgres://", "postgres://host", "sqlite://", "postgres://h:port/n"]
)
def test_database_addresses_that_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match="DATABASE_URL"):
        Environment({"DATABASE_URL": url}).database("DATABASE_URL", default=tmp_path / "hone.sqlite3")


def test_database_addresses(tmp_path: Path) -> None:
    found = Environment({"DATABASE_URL": "postgres://ann:s%40cret@db.example:5433/hone"}).database(
        "DATABASE_URL", default=tmp_path
    )
    assert found["ENGINE"] == "config.postgresql"
    assert (found["HOST"], found["PORT"], found["USER"], found["PASSWORD"], found["NAME"]) == (
        "db.example",
        5433,
        "ann",
        "s@cret",
        "hone",
    )
    default = Environment({}).database("DATABASE_URL", default=tmp_path / "hone.sqlite3")
    assert (default["ENGINE"], default["NAME"]) == ("config.sqlite3", str(tmp_path / "hone.sqlite3"))


@pytest.mark.parametrize("url", ["http://h", "redis://", "redis://h:port/0", "redis+socket://", "h:6379"])
def test_broker_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(WrongSetting, match="REDIS_URL"):
        Environment({"REDIS_URL": url}).broker("REDIS_URL")


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://:pw@h/1", "redis+socket:///run/v.sock?virtual_host=1"])
def test_broker_addresses(url: str) -> None:
    assert Environment({"REDIS_URL": url}).broker("REDIS_URL") == url


def test_a_short_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(WrongSetting) as refusal:
        Environment({"HONE_SECRET_KEY": "hunter2"}).secret("HONE_SECRET_KEY")
    assert str(refusal.value) == "HONE_SECRET_KEY has 7 characters; it must have 32 or more."


def test_values_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40 + "\n")
    env = Environment({"HONE_SECRET_KEY_FILE": str(tmp_path / "key")})
    assert env.secret("HONE_SECRET_KEY") == "k" * 40
    env.refuse_unknown()
    with pytest.raises(WrongSetting, match=r"HONE_SECRET_KEY_FILE names a file that can't be read: .*absent"):
        Environment({"HONE_SECRET_KEY_FILE": str(tmp_path / "absent")}).secret("HONE_SECRET_KEY")


@pytest.mark.parametrize(
    "value", ["$q7" + "k" * 40, "\\$" + "k" * 40, "${HOME}" + "k" * 40, "k" * 40 + "%#'\"{}", "密" * 32]
)
def test_a_value_is_taken_as_it_stands(value: str) -> None:
    assert Environment({"HONE_SECRET_KEY": value, "q7" + "k" * 40: "x" * 50}).secret("HONE_SECRET_KEY") == value


def test_a_database_named_by_another_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match=r"^DATABASE_URL starts with '\$DB'; it must be postgres://"):
        Environment({"DATABASE_URL": "$DB", "DB": "postgres://h/n"}).database("DATABASE_URL", default=tmp_path)


def test_a_password_of_a_database_is_decoded_as_postgresql_does_it() -> None:
    url = "postgresql://ann:a+b%2Fc$d@[2001:db8::1]:5433,backup.example:5434/hone?sslmode=require"
    found = Environment({"DATABASE_URL": url}).database("DATABASE_URL", default=Path("unused"))
    assert (found["PASSWORD"], found["HOST"], found["PORT"], found["OPTIONS"]) == (
        "a+b/c$d",
        "2001:db8::1,backup.example",
        "5433,5434",
        {**SILENT_SERVER, "sslmode": "require"},
    )
    patient = Environment({"DATABASE_URL": "postgres://db.example/hone?connect_timeout=60"})
    options: Any = patient.database("DATABASE_URL", default=Path("unused"))["OPTIONS"]
    assert (options["connect_timeout"], options["tcp_user_timeout"]) == ("60", "20000")
    socket = Environment({"DATABASE_URL": "postgres://ann@%2Frun%2Fpostgresql/hone"})
    assert socket.database("DATABASE_URL", default=Path("unused"))["HOST"] == "/run/postgresql"


def test_a_refused_database_address_keeps_its_password(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting) as refusal:
        Environment({"DATABASE_URL": "postgres://ann:hunter2@[::1/hone"}).database("DATABASE_URL", default=tmp_path)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("origin", ["hone.example", "https://", "ftp://a", "https://a/b", "https://a b"])
def test_an_origin_is_no_bare_name(origin: str) -> None:
    with pytest.raises(WrongSetting, match=r"HONE_TRUSTED_ORIGINS holds .*; each must be an origin such as"):
        Environment({"HONE_TRUSTED_ORIGINS": f"https://good.example:8443,{origin}"}).origins("HONE_TRUSTED_ORIGINS")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HONE_PORT", b"NaN"),
        ("HONE_PORT", b"80\xff"),
        ("HONE_HOST", b"\xed\xa0\xbd"),
        ("HONE_ALLOWED_HOSTS", b"a\xff"),
        ("HONE_SECRET_KEY", b"\xff" * 40),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_name(name: str, value: bytes, tmp_path: Path) -> None:
    result = start_with(tmp_path, **{name: os.fsdecode(value)})
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"Hone can't start: {name} (is 'NaN'|holds bytes).*\n", result.stderr)


ODD_NAMES = [
    "a b",
    "it's",
    'say "x"',
    "100%20",
    "a#b?c",
    "数据",
    "a\nb",
    "x" * 120,
    " edge ",
    "back\\slash",
    "\udcff",
    "$HOME",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = Environment({"HONE_DATA": str(tmp_path / name)}).folder("HONE_DATA", default=tmp_path)
    assert folder == tmp_path / name
    assert stored_secret_key(folder) == (folder / "secret_key").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("name", ["a#b?c", "a\nb", " edge ", "\udcff"])
def test_hone_starts_with_a_data_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    result = start_with(tmp_path, HONE_DATA=str(folder))
    assert (result.returncode, result.stderr) == (0, "")
    assert (folder / "secret_key").exists()


def test_a_value_of_several_lines_is_refused() -> None:
    with pytest.raises(WrongSetting, match="HONE_BASE_MODEL has more than one line"):
        Environment({"HONE_BASE_MODEL": "a\nb"}).text("HONE_BASE_MODEL", default="a")


def test_the_secret_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = stored_secret_key(tmp_path)
    assert len(key) >= 64
    assert stored_secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_every_setting_is_documented_and_nothing_else() -> None:
    source = (ROOT / "config" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    documented = set(
        re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), re.M)
    )
    assert read == documented
    assert len(read) >= 10


@pytest.mark.parametrize("place", ["", "s3://hone", "s3://hone/", "s3://hone.example/team/a_b/"])
def test_buckets(place: str) -> None:
    assert Environment({"HONE_ARTEFACTS": place}).bucket("HONE_ARTEFACTS") == place.rstrip("/")


@pytest.mark.parametrize(
    "place",
    ["hone", "/srv/hone", "https://hone/team", "s3://", "s3://A", "s3://hone/../x", "s3://hone//x", "s3://hone/a b"],
)
def test_what_is_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(WrongSetting, match="it must be a bucket, or a folder in one, such as s3://hone/team"):
        Environment({"HONE_ARTEFACTS": place}).bucket("HONE_ARTEFACTS")
