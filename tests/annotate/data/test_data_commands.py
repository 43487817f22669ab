import json

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from annotate.models import Prompt, Snapshot


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"id": n, "prompt": [{"role": "user", "content": f"Q{n}"}], "chosen": "Yes", "rejected": "No", "lang": "en"}
        for n in range(20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_go_in_and_out(cast, pairs, tmp_path, capsys):
    call_command("import_data", "kindness", str(pairs), "--limit", "15", "--language", "en")
    assert capsys.readouterr().out == (
        "20 rows read: 15 prompts, 15 tasks, 15 judgments. 5 left out: beyond the first 15.\n"
    )
    call_command("export_data", "kindness", "--format", "hone", "--out", str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "manifest.json",
        "rankings.train.jsonl",
        "rankings.validation.jsonl",
        "rankings.test.jsonl",
    }
    assert Snapshot.objects.get().sha256 in capsys.readouterr().out


@pytest.mark.parametrize(("format", "suffix"), [("hone", "jsonl"), ("trl", "jsonl"), ("parquet", "parquet")])
def test_a_path_with_a_suffix_is_one_file_with_all_rows(cast, pairs, tmp_path, format, suffix):
    call_command("import_data", "kindness", str(pairs))
    out = tmp_path / "deep" / f"all.{suffix}"
    call_command("export_data", "kindness", "--format", format, "--out", str(out))
    rows = pq.read_table(out).num_rows if suffix == "parquet" else len(out.read_text().splitlines())
    assert rows == 20


def test_a_broken_file_ends_with_its_lines(cast, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": 1, "prompt": [{"role": "user", "content": "Q"}]}\n{"id": 2}\n')
    with pytest.raises(CommandError) as refusal:
        call_command("import_data", "kindness", str(path))
    assert str(refusal.value) == 'Nothing was imported: 1 of 2 rows is broken.\n  line 2: "prompt" is missing'
    assert not Prompt.objects.exists()


def test_what_is_not_there_is_said(cast, tmp_path):
    with pytest.raises(CommandError, match=r"no project 'nope'\. Projects: elsewhere, kindness"):
        call_command("import_data", "nope", str(tmp_path))
    with pytest.raises(CommandError, match=r"There is no file none\.jsonl"):
        call_command("import_data", "kindness", str(tmp_path / "none.jsonl"))
    (tmp_path / "notes").mkdir()
    with pytest.raises(CommandError, match="notes holds no data files"):
        call_command("import_data", "kindness", str(tmp_path / "notes"))
    with pytest.raises(CommandError, match="nothing to freeze"):
        call_command("export_data", "kindness", "--format", "hone", "--out", str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("import_data kindness a.jsonl --language en --language zh", "--language"),
        ("import_data kindness a.jsonl --limit 5 --limit 6", "--limit"),
        ("export_data kindness --format hone --format trl --out a", "--format"),
        ("export_data kindness --kind ratings --kind rankings --format hone --out a", "--kind"),
        ("simulate_labelers kindness --seed 1 --seed 1", "--seed"),
        ("train kindness sft --model a --model b", "--model"),
        ("sample kindness --prompts 1 --prompts 2", "--prompts"),
        ("loop kindness --rounds 1 --rounds 2", "--rounds"),
        ("active_learning kindness --tasks 1 --tasks 2", "--tasks"),
    ],
)
def test_a_flag_that_takes_one_value_is_not_given_two(command, flag):
    with pytest.raises(CommandError, match=f"{flag} is given twice, and one is read"):
        call_command(*command.split())


def test_a_setting_of_a_run_is_not_given_twice(cast):
    for command in ("train kindness sft", "sample kindness"):
        with pytest.raises(CommandError, match="The setting seed is given twice: which of the two is meant"):
            call_command(*command.split(), "--set", "seed=1", "--set", "seed=2")


def test_a_place_that_cannot_be_written_is_said(cast, pairs, tmp_path):
    call_command("import_data", "kindness", str(pairs))
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="can't be written"):
        call_command("export_data", "kindness", "--format", "hone", "--out", str(tmp_path / "file" / "out"))


def test_turns_of_tools_are_kept_where_that_is_asked_for(cast, tmp_path):
    turns = [{"role": "user", "content": "Look."}, {"role": "tool", "content": "An apple."}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [*turns, {"role": "assistant", "content": "It is one."}]}) + "\n")
    call_command("import_data", "kindness", str(path))
    assert Prompt.objects.count() == 0
    call_command("import_data", "kindness", str(path), "--keep-tools")
    assert Prompt.objects.get().messages == [{"role": "user", "content": "Look.\n\n```tool_result\nAn apple.\n```"}]


def test_a_folder_is_checked_file_by_file_and_nothing_is_written(cast, pairs, capsys):
    (pairs.parent / "broken.jsonl").write_text('{"prompt": 1}\n')
    (pairs.parent / "odd|name.bin").write_bytes(b"\x00\x01")
    call_command("check_imports", "kindness", str(pairs.parent))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| file | format | rows | not taken | report |"
    assert lines[2].startswith("| broken.jsonl | – | – | – | broken.jsonl is in no format that Hone reads: ")
    assert lines[3].startswith("| odd\\|name.bin | – | – | – | odd\\|name.bin holds neither JSON")
    assert lines[4].startswith("| pairs.jsonl | hone | 20 | 0 | Checked only; nothing was written. 20 rows read: ")
    assert lines[-1] == "3 files, 2 of them refused. Nothing was written."
    assert not Prompt.objects.exists()
    with pytest.raises(CommandError, match="There is no folder"):
        call_command("check_imports", "kindness", str(pairs))
