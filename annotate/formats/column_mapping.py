"""Which column of a file in no known format holds what: guessed by its name, for a person to say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy

from annotate.formats.rows import shown_key

LONGEST_EXAMPLE = 80
MOST_COLUMNS = 40
FIELDS = {
    "prompt": gettext_lazy("Prompt"),
    "system": gettext_lazy("System text"),
    "response": gettext_lazy("Response"),
    "chosen": gettext_lazy("Preferred response"),
    "rejected": gettext_lazy("Rejected response"),
    "score": gettext_lazy("Score"),
    "label": gettext_lazy("Label (true or false)"),
    "lang": gettext_lazy("Language"),
    "source": gettext_lazy("Source"),
    "id": gettext_lazy("Id"),
}
WORDS = {
    "prompt": "prompt question query instruction input user_input request task ask 问题 提问 指令 提示 提示词",
    "system": "system system_prompt system_message 系统",
    "chosen": "chosen good better preferred best winner positive accepted response_chosen chosen_response 优选",
    "rejected": "rejected bad worse dispreferred loser negative response_rejected rejected_response 拒绝",
    "response": "response reply answer output completion target generation assistant 回答 答案 回复 输出",
    "score": "score rating stars points grade 评分 分数",
    "label": "label thumb is_good liked 标签",
    "lang": "lang language locale 语言",
    "source": "source origin dataset 来源",
    "id": "id uid uuid idx key row_id 编号",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """name: as the file has it. guess: the field that it may be, or empty."""

    name: str
    shown: str
    example: str
    guess: str


def columns_of(row: Mapping[str, Any]) -> list[Column]:
    """The columns of a file by its first row, each field guessed once."""
    left = {word: field for field, words in WORDS.items() for word in words.split()}
    found = []
    for name, value in list(row.items())[:MOST_COLUMNS]:
        guess = left.get("_".join(name.lower().replace("-", " ").split()), "")
        left = {word: field for word, field in left.items() if field != guess}
        example = " ".join(str(value).split())
        if len(example) > LONGEST_EXAMPLE:
            example = f"{example[: LONGEST_EXAMPLE - 1]}…"
        example = example.encode("utf-8", "replace").decode()
        found.append(Column(name=name, shown=shown_key(name), example=example, guess=guess))
    return found


def chosen(pairs: Iterable[str]) -> dict[str, str]:
    """{field: column} of the choices "field=column"; "" keeps nothing of a column. Raises ValueError."""
    said = [pair.partition("=") for pair in pairs if pair]
    found = {field: column for field, _sign, column in said if field in FIELDS and column}
    if len(found) < len(said):
        raise ValueError(said)
    return found
