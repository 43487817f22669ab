"""Labels that a model predicts, and responses compared with references: hand-worked figures, and the real path."""

import json

import pytest
import torch

from models_core.commands import evaluate
from models_core.commands.evaluate import demonstration_metrics, label_accuracy, text_similarity
from models_core.commands.output import markdown_tables
from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig, SFTConfig
from models_core.modeling import chat, loading
from models_core.recipes import sft
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")


def demonstration(response, label=None):
    messages = ({"role": "user", "content": "hi"},)
    return Demonstration(id="a", messages=messages, response=response, fields={"label": label} if label else {})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def file(tmp_path):
    def write(rows):
        path = tmp_path / "rows.jsonl"
        lines = [
            {"id": str(number), "prompt": [{"role": "user", "content": prompt}], "response": response, **more}
            for number, (prompt, response, more) in enumerate(rows)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return write


def run(model, path, tmp_path, *, templates=None, **settings):
    settings = EvaluateConfig(**{"precision": "fp32", "max_new_tokens": 8, **settings})
    out = tmp_path / "report.json"
    return evaluate.run(
        settings, model=str(model), data=path, templates=templates, out=out, device=CPU, stop=StopSignal()
    )


def test_precision_recall_and_f1_worked_out_by_hand():
    """a: 2 of 3 found, 1 false alarm. b: 1 of 2 found, none false. c never occurs. One row has no prediction."""
    true = ["a", "a", "a", "b", "b"]
    found = label_accuracy.figures(true, ["a", "a", None, "b", "a"], ["a", "b", "c"])
    assert (found["rows"], found["without_prediction"], found["accuracy"]) == (5, 1, 3 / 5)
    assert found["per_label"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "rows": 3})
    assert found["per_label"]["b"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3, "rows": 2})
    assert found["per_label"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 0}
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert (found["micro_precision"], found["micro_recall"]) == (pytest.approx(3 / 4), pytest.approx(3 / 5))


@pytest.mark.parametrize(
    ("response", "label", "expected"),
    [
        ("positive", "positive", "negative"),
        ("The review is positive.", "positive", "The review is negative."),
        ("It is positive, so positive.", "positive", "negative"),
        ("Positively so.", "positive", "negative"),
        ("这条评论是正面的。", "正面", "这条评论是negative的。"),
        ("A (positive).", "(positive)", "A negative."),
    ],
)
def test_another_label_takes_the_place_of_the_one_that_is_named_once(response, label, expected):
    assert label_accuracy.candidate(demonstration(response, label), "negative") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Positive.", "positive"),
        ("ＮＥＧＡＴＩＶＥ!", "negative"),
        ("I think it is not good: negative, not positive", "negative"),
        ("It is very positive overall.", "very positive"),
        ("That is unpositive", None),
        ("答案是正面", "正面"),
        ("", None),
    ],
)
def test_the_label_that_a_response_names(text, expected):
    names = ["positive", "very positive", "negative", "正面"]
    assert label_accuracy.named(text, {name: name for name in names}) == expected


def test_a_response_may_name_a_label_by_its_word():
    words = {"pos": "great", "neg": "terrible"}
    assert label_accuracy.named("Truly great!", words) == "pos"
    assert label_accuracy.named("It is pos.", words) is None


@pytest.mark.parametrize(
    ("given", "occurring", "expected"),
    [
        ("", ["b", "a", "b"], ["a", "b"]),
        (" b, a ,c,", ["a"], ["b", "a", "c"]),
        ("a", ["b"], "A row's label is 'b', which is not among the labels"),
        ("", ["a", "a"], "Every row has the label 'a'; name the others"),
        ("a,b", [], ["a", "b"]),
    ],
)
def test_the_labels_to_choose_from(given, occurring, expected):
    rows = [demonstration("x", label) for label in occurring]
    if isinstance(expected, list):
        assert label_accuracy.classes(rows, given=given) == expected
    else:
        with pytest.raises(BadInput, match=expected):
            label_accuracy.classes(rows, given=given)


def test_a_label_is_scored_by_its_mean_log_probability(model, file, tmp_path):
    """Against plain transformers, one candidate at a time."""
    rows = [
        ("one", "yes", {"label": "yes"}),
        ("two", "It is no, I say", {"label": "no"}),
        ("three", "maybe", {"label": "maybe"}),
    ]
    report = run(model, file(rows), tmp_path, num_generated=0)
    tokenizer = loading.load_tokenizer(model)
    network = loading.load_policy(model, device=CPU, dtype=torch.float32)
    names = ["maybe", "no", "yes"]
    right = 0
    for prompt, response, more in rows:
        means = {}
        for name in names:
            text = response.replace(more["label"], name)
            start = chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}], max_tokens=400)
            ids = start + chat.encode_response(tokenizer, text)
            with torch.no_grad():
                log_probs = network(torch.tensor([ids])).logits[0].log_softmax(-1)
            chosen = [log_probs[place - 1, ids[place]].item() for place in range(len(start), len(ids))]
            means[name] = sum(chosen) / len(chosen)
        right += max(means, key=lambda name: means[name]) == more["label"]
    assert report["labels"]["accuracy"] == pytest.approx(right / 3)
    assert list(report["labels"]["per_label"]) == names


@pytest.mark.parametrize("predict", ["score", "generate"])
def test_a_model_that_learned_a_task_is_found_to_know_it(model, file, tmp_path, predict):
    rows = [(f"say {word}", word, {"label": word}) for word in ("aa", "bb")] * 4
    path = file(rows)
    before = run(model, path, tmp_path, predict=predict)
    settings = SFTConfig(precision="fp32", epochs=60, batch_size=8, learning_rate=0.01)
    sft.train(settings, model=str(model), data=path, out=tmp_path / "sft", device=CPU, stop=StopSignal())
    report = run(tmp_path / "sft" / "model", path, tmp_path, predict=predict)
    assert report["labels"]["accuracy"] == report["labels"]["macro_f1"] == 1
    assert report["responses"]["exact_match"] == 1
    assert report["responses"]["en"]["bleu"] == pytest.approx(100)
    assert report["responses"]["en"]["rouge1"] == report["responses"]["en"]["rougeL"] == 1
    assert report["perplexity"] < 1.2 < before["perplexity"]
    assert before["responses"]["exact_match"] == 0


TEMPLATES = {
    "shots": [0],
    "labels": {"pos": "great", "neg": "terrible"},
    "templates": [{"prompt": "{text} How was it?", "response": "It was {label}."}],
}


@pytest.fixture
def reviews(tmp_path):
    """Rows that only a template makes whole; one lacks its text, and one has a label without a word."""
    rows = [{"id": str(n), "text": f"seen {n} times", "label": ("pos", "neg")[n % 2]} for n in range(6)]
    rows += [{"id": "x", "label": "pos"}, {"id": "y", "text": "so so", "label": "mixed"}]
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "templates.json").write_text(json.dumps(TEMPLATES), encoding="utf-8")
    return path


@pytest.mark.parametrize("predict", ["score", "generate"])
def test_rows_are_measured_in_the_words_of_their_templates(model, file, reviews, tmp_path, predict):
    """As the same rows written out by hand, where labels are what the templates call them."""
    given = {"predict": predict, "num_generated": 6, "max_new_tokens": 4}
    found = run(model, reviews, tmp_path, templates=str(tmp_path / "templates.json"), **given, labels="pos,neg,mixed")
    words = ("great", "terrible")
    by_hand = [(f"seen {n} times How was it?", f"It was {words[n % 2]}.", {"label": words[n % 2]}) for n in range(6)]
    expected = run(model, file(by_hand), tmp_path, **given)
    assert found.pop("no_template_fits") == 2
    for name in ("demonstrations", "loss", "bytes", "responses"):
        assert found[name] == expected[name]
    assert found["labels"].pop("per_label")["mixed"]["rows"] == 0  # it has no word, so nothing is taken for it
    expected["labels"].pop("per_label")
    assert found["labels"] == expected["labels"]


def test_a_model_learned_and_measured_in_templates_knows_its_labels(model, reviews, tmp_path):
    settings = SFTConfig(precision="fp32", epochs=80, batch_size=6, learning_rate=0.02, held_out=0.0)
    templates = str(tmp_path / "templates.json")
    given = {"data": reviews, "templates": [templates], "out": tmp_path / "sft", "device": CPU, "stop": StopSignal()}
    sft.train(settings, model=str(model), **given)
    for predict in ("score", "generate"):
        report = run(
            tmp_path / "sft",
            reviews,
            tmp_path,
            templates=templates,
            predict=predict,
            num_generated=0,
            max_new_tokens=24,
        )
        assert report["labels"]["accuracy"] == 1


def test_templates_that_fit_nothing_and_models_that_are_not_asked(model, reviews, tmp_path):
    with pytest.raises(BadInput, match=r"reviews\.jsonl: no row can be measured on; 8 rows that no template fits\."):
        run(model, reviews, tmp_path, templates="translation")
    with pytest.raises(BadInput, match="There are no templates nothing: give a JSON file or one of"):
        run(model, reviews, tmp_path, templates="nothing")


def test_only_as_many_responses_are_drawn_as_asked(model, file, tmp_path):
    rows = [("p", "some words here", {}), ("q", "今天天气很好", {}), ("r", "other words there", {"lang": "en"})]
    report = run(model, file(rows), tmp_path, num_generated=2)
    assert report["responses"]["rows"] == 2
    assert 0 <= report["responses"]["cut_at_max_new_tokens"] <= 2
    assert "responses" not in run(model, file(rows), tmp_path, num_generated=0)
    assert "labels" not in report
    both = run(model, file(rows), tmp_path)["responses"]
    assert (both["en"]["rows"], both["zh"]["rows"]) == (2, 1)
    assert both["rows"] == 3


def test_bytes_of_responses_make_bits_per_byte(model, file, tmp_path):
    rows = [("p", "abc", {}), ("q", "你", {})]
    report = run(model, file(rows), tmp_path, num_generated=0)
    assert report["bytes"] == 3 + 3
    assert report["bits_per_byte"] == pytest.approx(report["loss"] * report["tokens"] / 6 / 0.6931471805599453)


@pytest.mark.parametrize(
    ("response", "reference", "one", "two", "longest"),
    [
        # shared words: the, cat, sat = 3 of 3 and 6; pairs: "the cat", "cat sat" = 2 of 2 and 5.
        ("The cat sat.", "the cat sat on the mat", 2 * 3 / 9, 2 * 2 / 7, 2 * 3 / 9),
        # all words shared, none in a row; the longest common subsequence is one word long.
        ("a b c", "c b a", 1.0, 0.0, 1 / 3),
        # 今 天 are shared, 天 once though the response has it twice.
        ("今天天", "今天好", 2 * 2 / 6, 2 * 1 / 4, 2 * 2 / 6),
        ("", "word", 0.0, 0.0, 0.0),
        ("one", "one", 1.0, 0.0, 1.0),
    ],
)
def test_rouge_worked_out_by_hand(response, reference, one, two, longest):
    found = text_similarity.rouge([response], [reference])
    assert {name: found[name] for name in text_similarity.ROUGE} == pytest.approx(
        {"rouge1": one, "rouge2": two, "rougeL": longest}
    )


def test_bleu_worked_out_by_hand():
    """Precisions 5/5, 4/4, 3/3, 2/2 at 5 words for 6: only the brevity penalty exp(1 - 6/5) is left."""
    found = text_similarity.bleu(["the cat sat on the"], ["the cat sat on the mat"], tokens="13a")["bleu"]
    assert found == pytest.approx(100 * 2.718281828459045 ** (1 - 6 / 5))


def test_chinese_bleu_counts_characters():
    assert text_similarity.bleu(["今天天气很好"], ["今天天气不好"], tokens="zh")["bleu"] > 30
    assert text_similarity.bleu(["今天天气很好"], ["今天天气不好"], tokens="13a")["bleu"] < 1


def test_each_language_is_measured_by_its_own_words():
    responses, references = ["今天天气很好", "the cat sat"], ["今天天气不好", "the cat sat"]
    found = text_similarity.figures(responses, references, ["zh", "en"])
    assert found["zh"]["bleu"] == text_similarity.bleu(responses[:1], references[:1], tokens="zh")["bleu"]
    assert (found["en"]["bleu"], found["en"]["rows"]) == (pytest.approx(100), 1)
    assert (found["rows"], found["exact_match"]) == (2, 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain words", "en"), ("今天 ok", "zh"), ("", "en"), ("use the verb 是 here", "en"), ("!?", "en")],
)
def test_the_language_of_a_text(text, expected):
    assert text_similarity.language(text) == expected


def test_exact_match_looks_past_case_punctuation_and_spacing():
    assert text_similarity.exact_match(["The  Cat!", "dog"], ["the cat", "dogs"]) == 0.5


def test_parts_that_are_alike_become_rows_of_one_table():
    report = {
        "rows": 2,
        "share": 0.25,
        "labels": {"accuracy": None, "per_label": {"a|b": {"f1": 1.0}, "c": {"f1": 0.5}}},
    }
    assert markdown_tables.markdown(report).split("\n") == [
        "| measure | value  |",
        "| ------- | ------ |",
        "| rows    | 2      |",
        "| share   | 0.2500 |",
        "",
        "## labels",
        "",
        "| measure  | value |",
        "| -------- | ----- |",
        "| accuracy |       |",
        "",
        "## labels, per label",
        "",
        "|      | f1     |",
        "| ---- | ------ |",
        "| a\\|b | 1.0000 |",
        "| c    | 0.5000 |",
    ]


TURNS = [
    {"role": "user", "content": "say 1"},
    {"role": "assistant", "content": "ab"},
    {"role": "user", "content": "say 2"},
]


@pytest.mark.parametrize("loss_on", ["last", "all"])
def test_evaluate_measures_what_the_run_measured(model, tmp_path, loss_on):
    """To the tokens: chats of several turns, some of which lose turns or fall out at this length."""
    rows = [
        {"id": "1", "prompt": TURNS, "response": "abab"},
        {"id": "2", "prompt": TURNS[:1], "response": "some words"},
        {"id": "3", "prompt": [{"role": "user", "content": "x" * 90}, *TURNS[1:]], "response": "cut"},
        {"id": "4", "prompt": TURNS[:1], "response": "z" * 200},
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"model": str(model), "data": data, "evaluation": data, "out": tmp_path / "sft"}
    settings = SFTConfig(precision="fp32", loss_on=loss_on, max_length=128, epochs=1, learning_rate=0.01)
    of_run = sft.train(settings, **given, device=CPU, stop=StopSignal())
    report = run(tmp_path / "sft", data, tmp_path, loss_on=loss_on, max_length=128, num_generated=0)
    assert report["loss"] == pytest.approx(of_run["eval_loss"], abs=1e-6)
    assert (report["demonstrations"], report["too_long_responses"], report["truncated_prompts"]) == (3, 1, 1)
    learned = {"last": ["abab", "some words", "cut"], "all": ["ab", "abab", "some words", "cut"]}[loss_on]
    assert report["tokens"] == sum(len(text) + 1 for text in learned)
    assert report["bytes"] == sum(map(len, learned))
    with pytest.raises(BadInput, match="The row '3' has a prompt longer than max_length"):
        run(tmp_path / "sft", data, tmp_path, max_length=128, num_generated=0, long_prompts="refuse")


def test_responses_are_drawn_at_their_own_temperature(model, file, tmp_path, monkeypatch):
    temperatures = []
    respond = demonstration_metrics.sample.respond

    def noted(*given, settings, **more):
        temperatures.append(settings.temperature)
        return respond(*given, settings=settings, **more)

    monkeypatch.setattr(demonstration_metrics.sample, "respond", noted)
    path = file([("p", "abc", {})])
    run(model, path, tmp_path, temperature=1.0)
    run(model, path, tmp_path, temperature=1.0, generation_temperature=0.5)
    assert temperatures == [0.0, 0.5]


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (["C", "C++", "C#"], ["c", "C++.", "It is C#."]),
        (["-1", "1", "0"], ["-1.", "The answer: 1", "0!"]),
        (["A+", "A-", "A"], ["a+", "My grade is A-.", "a"]),
        (["😀", "😢"], ["😀!", "I say 😢"]),
        (["us", "US"], ["us", "the US"]),
        (["+", "-", "="], ["+", " - ", "="]),
    ],
)
def test_labels_that_differ_in_signs_alone_are_told_apart(names, others):
    words = {name: name for name in names}
    assert [label_accuracy.named(name, words) for name in names] == names
    assert [label_accuracy.named(text, words) for text in others] == names
    truth = [name for name in names for _ in range(2)]
    assert (
        label_accuracy.figures(truth, [label_accuracy.named(name, words) for name in truth], names)["accuracy"] == 1.0
    )


def test_a_label_takes_no_place_inside_a_longer_one():
    row = demonstration("C++ is not C.", "C")
    assert label_accuracy.candidate(row, "C#", ["C", "C++", "C#"]) == "C++ is not C#."


def test_averages_are_those_of_scikit_learn():
    from sklearn.metrics import classification_report

    truth, guesses = list("aaabbc"), list("aabbcc")
    found = label_accuracy.figures(truth, guesses, ["a", "b", "c"])
    wanted = classification_report(truth, guesses, output_dict=True, zero_division=0.0)
    for average in ("macro", "weighted"):
        assert found[f"{average}_f1"] == pytest.approx(wanted[f"{average} avg"]["f1-score"])
        assert found[f"{average}_precision"] == pytest.approx(wanted[f"{average} avg"]["precision"])
    assert found["accuracy"] == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("response", "reference", "same"),
    [
        *((one, other, False) for one, other in (("-5", "5"), ("C++", "C#"), ("c", "C++"), ("A+", "A-"), ("A", "a-"))),
        *((one, other, False) for one, other in (("x+1", "x-1"), ("50%", "50"), ("$5", "5"), ("a = b", "a b"))),
        *((one, other, False) for one, other in (("Fine 😀", "Fine 😢"), ("-0.5", "0.5"), ("1 -2", "-1 2"))),
        *((one, other, True) for one, other in (("C++.", "c++"), ("It's -5!", "it's \u22125"), ("x + 1", "X+1"))),
        *((one, other, True) for one, other in (("**Paris**", "Paris."), ("`a`", "A"), ("well-known", "well known"))),
        *((one, other, True) for one, other in (("- a\n- b", "a b"), ("# Title", "title"), ("50 - 3", "50 3"))),
    ],
)
def test_exact_match_tells_signs_that_mean_something_from_punctuation(response, reference, same):
    assert text_similarity.exact_match([response], [reference]) == same


def test_signs_alone_are_compared_as_they_are():
    assert text_similarity.exact_match(["😀", "+", "The cat!"], ["😢", "-", "the cat"]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("lang", "tokens", "response", "reference"),
    [
        ("zh-CN", "zh", "今天天气很好", "今天天气不好"),
        ("ja_JP", "char", "今日はとても暑い", "今日はかなり暑い"),
        ("ar", "13a", "القطة جلست على السجادة", "القطة جلست على الكرسي"),
        ("en", "13a", "the cat sat on 😀 mats", "the cat sat on 😀 rugs"),
    ],
)
def test_bleu_is_that_of_sacrebleu_called_directly(lang, tokens, response, reference):
    import sacrebleu

    wanted = sacrebleu.metrics.BLEU(tokenize=tokens, effective_order=True).corpus_score([response], [[reference]]).score
    found = text_similarity.figures([response], [reference], [lang])[lang]["bleu"]
    assert found == pytest.approx(wanted)
    assert wanted > 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't sit, cat_2!", ["don", "t", "sit", "cat", "2"]),
        ("今天 is 好的。", ["今", "天", "is", "好", "的"]),
        ("東京タワーへ行く", list("東京タワーへ行く")),
        ("か\u3099らす", ["か\u3099", "ら", "す"]),
        ("القطةُ جلست، هنا", ["القطةُ", "جلست", "هنا"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ไทย", list("ไทย")),
        ("ok 👍🏽👨‍👩‍👧🇨🇳!", ["ok", "👍🏽", "👨‍👩‍👧", "🇨🇳"]),
        ("", []),
    ],
)
def test_what_rouge_counts(text, words):
    assert text_similarity.Words().tokenize(text) == words


LIKE = [
    ("the cat sat on mats", "the cat sat on the mat"),
    ("今天天气很好", "今天天气不好"),
    ("今日はとても暑い", "今日はかなり暑い"),
    ("القطة جلست على السجادة", "القطة جلست على الكرسي"),
    ("fine 😀 👍🏽", "fine 😢 👍🏽"),
]


@pytest.mark.parametrize(
    ("pair", "one", "two", "longest"),
    [
        # the, cat, sat, on of 5 and 6 words; three pairs of 4 and 5; in order.
        (LIKE[0], 2 * 4 / 11, 2 * 3 / 9, 2 * 4 / 11),
        # five of six characters; 今天 天天 天气 of five pairs each; in order.
        (LIKE[1], 2 * 5 / 12, 2 * 3 / 10, 2 * 5 / 12),
        # 今日は暑い of eight each; 今日 日は 暑い of seven pairs each; in order.
        (LIKE[2], 2 * 5 / 16, 2 * 3 / 14, 2 * 5 / 16),
        (LIKE[3], 2 * 3 / 8, 2 * 2 / 6, 2 * 3 / 8),
        (LIKE[4], 2 * 2 / 6, 0, 2 * 2 / 6),
    ],
)
def test_rouge_is_that_of_rouge_score_on_words_of_every_script(pair, one, two, longest):
    from rouge_score.rouge_scorer import RougeScorer

    found = text_similarity.rouge(*([text] for text in pair))
    wanted = RougeScorer(text_similarity.ROUGE, tokenizer=text_similarity.Words()).score(pair[1], pair[0])
    assert {name: found[name] for name in text_similarity.ROUGE} == {
        name: wanted[name].fmeasure for name in text_similarity.ROUGE
    }
    assert [found[name] for name in text_similarity.ROUGE] == pytest.approx([one, two, longest])


def test_rouge_of_english_is_that_of_rouge_score_by_default():
    from rouge_score.rouge_scorer import RougeScorer

    pair = "The quick brown fox jumps; over 2 dogs", "The quick brown dog jumps on 2 logs."
    wanted = RougeScorer(text_similarity.ROUGE).score(pair[1], pair[0])
    found = text_similarity.rouge([pair[0]], [pair[1]])
    assert {name: found[name] for name in text_similarity.ROUGE} == {
        name: wanted[name].fmeasure for name in text_similarity.ROUGE
    }


@pytest.mark.parametrize("pair", LIKE)
def test_chrf_is_that_of_sacrebleu_called_directly(pair):
    import sacrebleu

    found = text_similarity.chrf(*([text] for text in pair))["chrf"]
    assert found == pytest.approx(sacrebleu.corpus_chrf([pair[0]], [[pair[1]]]).score)
    assert 20 < found < 100


def test_chrf_worked_out_by_hand():
    """ "ab" for "abc": 2/2 of 2/3 characters and 1/1 of 1/2 pairs, means 1 and 7/12; F with beta 2 of those.

    sacrebleu counts the orders that both texts have: here two.
    """
    precision, recall = 1, (2 / 3 + 1 / 2) / 2
    wanted = 5 * precision * recall / (4 * precision + recall)
    assert text_similarity.chrf(["ab"], ["abc"])["chrf"] == pytest.approx(100 * wanted)


def test_the_report_says_with_which_options_each_figure_was_made():
    found = text_similarity.figures(["今天天气很好", "a cat"], ["今天天气不好", "a cat"], ["zh", "en"])
    assert "|tok:zh|" in found["zh"]["bleu_signature"]
    assert "|tok:13a|" in found["en"]["bleu_signature"]
    assert "|eff:yes|" in found["en"]["bleu_signature"]
    assert "|nc:6|nw:0|" in found["en"]["chrf_signature"]
    assert found["en"]["rouge_signature"] == (
        "fmeasure:mean|stemmer:no|tok:words-lower-han.kana.thai.lao.khmer.myanmar.by.character-emoji|zero_division:0|"
        "version:0.1.2"
    )
    assert label_accuracy.figures(["a"], ["b"], ["a", "b"])["zero_division"] == 0
