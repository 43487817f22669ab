"""Texts of people as tokens: whatever they spell, no control token comes of it, for every kind of tokenizer."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from models_core.modeling import chat, plain_text
from models_core.rl import ptx
from models_core.training import corpus

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>[INST] {{ m['content'] }} [/INST]{% else %}"
    " {{ m['content'] }} </s>{% endif %}{% endfor %}"
)
BARE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
WORDS = sorted({*"abcdefghijklmnopqrstuvwxyz<>|_[]/:.!?0123456789", "hello", "the", "end", "image"})
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def bpe(names):
    """Byte-level, as GPT-2 and Llama 3; the model itself has the special tokens, and takes whole words first."""
    vocabulary = {token: number for number, token in enumerate([*names, *BYTES])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentencepiece(names, *, model):
    """With a mark before words, and pieces for bytes; a Unigram model finds its own control pieces in any text."""
    pieces = [*names, "<unk>", *(f"<0x{number:02X}>" for number in range(256)), "▁", *WORDS]
    pieces += [f"▁{word}" for word in WORDS]
    if model == "unigram":
        scores = [(piece, 0.0 if piece in names else -1.0 - len(pieces) / 1e4) for piece in pieces]
        tokenizer = Tokenizer(models.Unigram(scores, unk_id=len(names), byte_fallback=True))
    else:
        numbers = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def wordpiece(names):
    """In lower case and without accents, so added tokens that are normalised match more than what is written."""
    pieces = [*names, "[UNK]", *WORDS, *(f"##{word}" for word in WORDS)]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def made(tokenizer, names, *, eos, template, bos=None, later=()):
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, bos_token=bos, chat_template=template)
    fast.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    fast.add_tokens([token if isinstance(token, AddedToken) else AddedToken(token, special=False) for token in later])
    return fast


LLAMA_3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TURNS = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
LATER = ["<image>", "<tool_call>", AddedToken("<|mask|>", lstrip=True, rstrip=True, special=False), "  "]
TOKENIZERS = {
    "llama 3": lambda: made(
        bpe(LLAMA_3), LLAMA_3, eos="<|end_of_text|>", bos="<|begin_of_text|>", template=LLAMA, later=LATER
    ),
    "header tokens not special": lambda: made(
        bpe(LLAMA_3[:2]), LLAMA_3[:2], eos="<|end_of_text|>", bos="<|begin_of_text|>", template=LLAMA,
        later=[*LLAMA_3[2:], *LATER],
    ),
    "gemma": lambda: made(
        sentencepiece(TURNS, model="bpe"), TURNS, eos="<eos>", bos="<bos>", template=GEMMA, later=LATER
    ),
    "unigram": lambda: made(
        sentencepiece(["<s>", "</s>"], model="unigram"), ["<s>", "</s>"], eos="</s>", template=LLAMA_2, later=LATER
    ),
    "wordpiece": lambda: made(
        wordpiece(["[sep]", "[CLS]"]), ["[sep]", "[CLS]"], eos="[sep]", template=BARE,
        later=[*LATER[:3], AddedToken("Marker", normalized=True, special=False)],
    ),
}  # fmt: skip
ENDS = {
    "llama 3": "<|eot_id|>", "header tokens not special": "<|eot_id|>", "gemma": "<end_of_turn>", "unigram": "</s>",
    "wordpiece": "[sep]",
}  # fmt: skip
SPELLED = [
    *LLAMA_3, *TURNS, "<s>", "</s>", "[sep]", "[CLS]", "[SEP]", "<image>", "<tool_call>", "<|mask|>", "MARKER",
    "marker", "<|eot_", "id|>", "<ima<image>ge>", "<unk>",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(SPELLED), st.text("abc <>|_/[]", max_size=6)), min_size=1, max_size=8).map(
    "".join
)


@pytest.fixture(scope="module", params=TOKENIZERS)
def kind(request):
    return request.param, TOKENIZERS[request.param]()


def control(tokenizer, ids):
    """The ids of added tokens among these, those of white space left out."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    return [number for number in ids if number in added]


def solid(text):
    """Without white space, of which SentencePiece takes some at a text's beginning."""
    return "".join(text.split())


PROPERTY = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@PROPERTY
@given(text=TEXTS)
def test_what_a_user_types_adds_no_control_token_to_a_chat(kind, text):
    _, tokenizer = kind
    chats = [
        [
            {"role": "user", "content": content},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "b"},
        ]
        for content in ("hello", text)
    ]
    plain, typed = (chat.encode_prompt(tokenizer, turns, max_tokens=10_000) for turns in chats)
    assert control(tokenizer, typed) == control(tokenizer, plain)
    with_assistant_positions = chat.fit_prompt(tokenizer, chats[1], max_tokens=10_000, with_assistant_positions=True)
    assert control(tokenizer, with_assistant_positions.ids) == control(tokenizer, plain)


@PROPERTY
@given(text=TEXTS)
def test_texts_come_back_from_their_tokens(kind, text):
    name, tokenizer = kind
    (ids,) = corpus.encode([text], tokenizer, ends=False)
    assert control(tokenizer, ids) == []
    # A word of wordpiece may be one token however long it is, and a window is of two at least.
    (group,) = ptx._windows([f"{text} ab"], tokenizer)
    assert control(tokenizer, [*group.prompt, *group.responses[0]]) == []
    if name != "wordpiece":  # which loses case of any text
        assert solid(tokenizer.decode(ids)) == solid(text)


@PROPERTY
@given(text=TEXTS)
def test_a_response_ends_once_and_has_no_special_token_inside(kind, text):
    name, tokenizer = kind
    *body, end = chat.encode_response(tokenizer, text)
    assert end == chat.end_id(tokenizer)
    inside = {tokenizer.convert_ids_to_tokens(number) for number in control(tokenizer, body)}
    assert inside <= {"<image>", "<tool_call>", "<|mask|>", "marker"}  # what a model writes in its responses itself
    if name != "wordpiece" and "<|mask|>" not in text:
        assert solid(chat.decode_response(tokenizer, [*body, end])) == solid(text)


def test_the_token_that_ends_a_turn_is_the_templates(kind):
    name, tokenizer = kind
    assert tokenizer.convert_ids_to_tokens(chat.end_id(tokenizer)) == ENDS[name]
    ends = chat.eos_ids(object(), tokenizer)
    assert ends == tuple(dict.fromkeys([chat.end_id(tokenizer), tokenizer.eos_token_id]))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    prompt = chat.fit_prompt(tokenizer, turns, max_tokens=1000, with_assistant_positions=True)
    said = [prompt.ids[place] for place in prompt.assistant_positions]
    is_written = name != "wordpiece"  # whose template ends no turn
    assert (said[-1] == chat.end_id(tokenizer)) is is_written
    assert tokenizer.decode(said[:-1] if is_written else said).strip() == "b"


def test_a_text_without_such_spellings_is_tokenised_as_the_template_writes_it(kind):
    _, tokenizer = kind
    turns = [{"role": "user", "content": " hello  [the] <end "}, {"role": "assistant", "content": "a\nb"}]
    turns.append({"role": "user", "content": "c"})
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert (
        chat.encode_prompt(tokenizer, turns, max_tokens=1000) == tokenizer(text, add_special_tokens=False)["input_ids"]
    )


def test_what_is_between_spellings_is_tokenised_as_if_they_were_plain_words():
    tokenizer = TOKENIZERS["gemma"]()
    turns = [{"role": "user", "content": "hello <eos> the"}]
    ids = chat.encode_prompt(tokenizer, turns, max_tokens=1000)
    assert tokenizer.decode(ids) == "<start_of_turn>user\nhello <eos> the<end_of_turn>\n<start_of_turn>assistant\n"
    assert plain_text.of(tokenizer).spellings("a<eos>b<image>", ["<eos>", "<image>"]) == [2, 8]
