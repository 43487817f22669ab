"""Responses that say which model wrote them. A labeler who reads "as an AI trained by X" no longer judges blind.

Only a response that speaks of itself counts: one about OpenAI's history names the company and gives nothing away. What
is found is shown to the labeler as a flag, and a project may have the names masked.
"""

import hashlib
import re

from django.core.cache import cache
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.rendering import MAX_MARKDOWN_CHARACTERS

MASK = "▇▇▇"

# Names of models and of those who make them, as they're written in English and in Chinese texts. Many are common words
# too (Claude, Phi, Nova): a name alone means nothing here.
MODELS = (
    *("ChatGPT", "GPT-?[0-9][0-9a-z.-]*", "GPT", "InstructGPT", "Copilot", "Bing Chat", "o[1-9](?:-mini|-pro)?"),
    *(
        "Claude(?: [0-9][0-9.]*)?(?: (?:Opus|Sonnet|Haiku))?",
        "Gemini",
        "Gemma(?:-?[0-9]+)?",
        "Bard",
        "PaLM(?:-?[0-9])?",
    ),
    *("L[Ll]a[Mm][Aa](?:-?[0-9.]+)?", "Meta AI", "Mixtral", "Le Chat", "Grok(?:-?[0-9.]+)?", "Command[ -]?R\\+?"),
    *("Falcon", "Vicuna", "Alpaca", "Koala", "Dolly", "Open ?Assistant", "StableLM", "SmolLM[0-9]?", "Zephyr", "OLMo"),
    *("T[uü]lu", "Nemotron", "Jamba", "Granite", "Amazon Nova", "Titan", "Phi-?[0-9.]*", "Pi", "Pythia", "BLOOMZ?"),
    *("Qwen[0-9.]*(?:-Chat)?", "QwQ", "Tongyi Qianwen", "DeepSeek(?:[ -]?(?:R|V)[0-9.]+)?", "ERNIE(?: Bot)?"),
    *(
        "ChatGLM[0-9]?(?:-6B)?",
        "GLM(?:-?[0-9.]+)?",
        "Kimi",
        "Doubao",
        "Hunyuan",
        "SparkDesk",
        "Baichuan[0-9]?",
        "InternLM",
    ),
    *("Yi(?:-[0-9]+B)?", "MiniMax", "MOSS", "YandexGPT", "GigaChat", "Reka", "Solar", "Perplexity", "Poe"),
    *(
        "通义千问",
        "千问",
        "文心一言",
        "文心大模型",
        "智谱清言",
        "豆包",
        "混元",
        "讯飞星火",
        "星火认知大模型",
        "星火",
        "百川",
    ),
    *("书生·?浦语", "书生", "海螺AI", "天工", "紫东太初", "深度求索", "月之暗面"),
)
MAKERS = (
    *(
        "OpenAI",
        "Anthropic",
        "Google(?: DeepMind| AI| Brain)?",
        "DeepMind",
        "Meta(?: Platforms)?",
        "Facebook",
        "Microsoft",
    ),
    *(
        "Mistral(?: ?AI)?",
        "xAI",
        "Cohere(?: For AI)?",
        "LMSYS(?: Org)?",
        "Stability AI",
        "Hugging ?Face(?:TB)?",
        "NVIDIA",
    ),
    *("AI21(?: Labs)?", "Inflection(?: AI)?", "Amazon", "IBM", "Apple", "Databricks", "EleutherAI", "LAION", "Ai2"),
    *("the Allen Institute for AI", "Technology Innovation Institute", "TII", "Yandex", "Sber", "Upstage", "Nomic AI"),
    *(
        "Alibaba(?: Cloud| Group)?",
        "Baidu",
        "Tencent",
        "ByteDance",
        "Zhipu(?: ?AI)?",
        "Moonshot ?AI",
        "iFlytek",
        "01\\.AI",
    ),
    *("SenseTime", "Huawei", "Shanghai AI Lab(?:oratory)?", "Tsinghua(?: University)?", "Knowledge Engineering Group"),
    *("阿里巴巴(?:集团)?(?:旗下)?(?:的)?(?:通义实验室|达摩院)?", "阿里云", "达摩院", "通义实验室", "百度(?:公司)?"),
    *(
        "腾讯(?:公司)?",
        "字节跳动(?:公司)?",
        "智谱(?:AI|华章)?(?:公司)?",
        "科大讯飞",
        "零一万物",
        "百川智能",
        "商汤(?:科技)?",
    ),
    *(
        "华为",
        "上海人工智能实验室",
        "清华大学(?:KEG实验室)?",
        "复旦大学",
        "谷歌",
        "微软(?:公司)?",
        "脸书",
        "英伟达",
        "昆仑万维",
    ),
)


def _either(*words: str) -> str:
    return "(?:" + "|".join(words) + ")"


_NAME = _either(*sorted((*MODELS, *MAKERS), key=len, reverse=True)) + r"(?![A-Za-z0-9])"
_ANY_NAME = rf"(?P<name>{_NAME})"
_NAMED = rf"(?<![A-Za-z0-9]){_ANY_NAME}"

# Every repetition has an upper end: a pattern tries no more than some hundred ways at a place.
_GAP = r"\s{1,5}"
_NO_GAP = r"\s{0,5}"

# English
_ME = _either(
    rf"\bI{_NO_GAP}(?:am|'m|’m|was)\b",
    r"\bmy name is\b",
    r"\bcall me\b",
    r"\byou(?:'re|’re| are) talking (?:to|with)\b",
)
_ADJECTIVE = _either(
    *("conversational", "large", "small", "helpful", "virtual", "open[- ]source", "artificial intelligence"),
    *("AI", "chat", "language", "multimodal"),
)
_KIND = rf"(?:{_ADJECTIVE}[ -]{{1,3}}){{0,6}}" + _either("AI", "LLM", "model", "assistant", "chat ?bot", "bot")
_CALLED = _either("called", "named", "known as")
_MADE = _either(
    *("developed", "trained", "created", "made", "built", "designed", "fine[- ]tuned", "released", "powered"),
    *("provided", "maintained", "operated"),
)
_TEAM = rf"(?:(?:the|a|team|company|researchers|engineers|at){_GAP}){{0,6}}"
# After "I am X": "I am a Google fan" and "I am pi radians" go on otherwise.
_THEN = rf"(?={_NO_GAP}(?:[,.!?;:()\"”—–\n]|$|" + _either("and", "an?", "the", "by", "from", "at", _MADE) + r"\b))"

# Chinese
_ZH_ROLE = _either(
    *(
        "你的",
        "您的",
        "一个",
        "一款",
        "一种",
        "一名",
        "由",
        "来自",
        "基于",
        "名为",
        "叫做?",
        "的",
        "人工智能",
        "AI",
        "智能",
    ),
    *("大型", "大", "超大规模", "语言", "对话", "聊天", "模型", "助手", "助理", "机器人", "，", "、", "“", '"', r"\s"),
)
_ZH_MADE = _either("开发", "训练", "研发", "创建", "创造", "推出", "打造", "设计", "提供")
_ZH_THEN = (
    rf"(?={_NO_GAP}(?:[，。！？；：、（）()“”,.!?\n]|$|和|与|团队|公司|一|自主|"
    + _ZH_MADE
    + "|的?"
    + _either("人工智能", "AI", "智能", "语言", "大模型", "模型", "助手", "聊天")
    + "))"
)

_SAYS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "I am ChatGPT", "I'm actually an AI assistant called Claude", "my name is Qwen"
        (
            rf"{_ME}{_GAP}(?:(?:just|actually|indeed|only|{_CALLED}|an?|the|your){_GAP}){{0,5}}"
            rf"(?:{_KIND},?{_GAP}(?:{_CALLED})?{_NO_GAP})?{_NAMED}{_THEN}"
        ),
        # "As ChatGPT, I ..."
        rf"(?:^|[.!?\n]{_NO_GAP})as{_GAP}{_NAMED}{_NO_GAP},",
        # "As an AI language model developed by OpenAI", "I'm a large language model, trained by Google"
        (
            rf"(?:\bas|{_ME}){_GAP}(?:an?|the){_GAP}{_KIND}\b[^.!?\n]{{0,60}}?\b(?:by|from|of|at){_GAP}"
            rf"{_TEAM}{_NAMED}"
        ),
        # "I was trained by Anthropic", "I have been developed by the team at Mistral AI"
        (
            rf"\bI{_NO_GAP}(?:was|am|'m|’m|have been|'ve been|’ve been){_GAP}(?:\w{{1,30}}{_GAP}){{0,2}}?{_MADE}"
            rf"(?:{_GAP}and{_GAP}\w{{1,30}})?{_GAP}by{_GAP}"
            rf"{_TEAM}{_NAMED}"
        ),
        # "my creators at OpenAI", "OpenAI trained me", "Anthropic, the company that created me"
        rf"\bmy{_GAP}(?:creators?|developers?|makers?|training)(?:,|{_GAP}(?:at|is|are|by|from)){_GAP}{_NAMED}",
        rf"{_NAMED}{_NO_GAP}(?:,{_NO_GAP}(?:the company|who|which){_GAP}(?:that{_GAP})?)?{_MADE}{_GAP}me\b",
        # Other tongues in which models speak of themselves as often: "soy ...", "je suis ...", "ich bin ..."
        (
            rf"\b(?:soy|je suis|ich bin|sono|eu sou){_GAP}(?:(?:une?|eine?|uma?|der|die|das){_GAP})?"
            rf"(?:[\w-]{{1,30}}{_GAP}){{0,4}}?"
            rf"{_NAMED}{_THEN}"
        ),
        # "I am Tongyi Qianwen, ...", "I'm called Kimi"
        rf"我(?:就|其实)?(?:是|叫做|叫|的名字(?:是|叫)|名叫|名为){_ZH_ROLE}{{0,12}}{_ANY_NAME}{_ZH_THEN}",
        # "as a language model developed by Baidu"
        rf"作为{_ZH_ROLE}{{0,12}}{_ANY_NAME}{_ZH_THEN}",
        # "I was trained by OpenAI", "OpenAI trained me"
        rf"我[^。！？\n]{{0,16}}?由(?:来自|公司|团队|\s){{0,6}}{_ANY_NAME}[^。！？\n]{{0,16}}?{_ZH_MADE}",
        rf"{_ANY_NAME}[^。！？\n，]{{0,8}}{_ZH_MADE}了我",
    )
)
# Where a response may speak of itself. Only what stands near is looked at closely, and of it so much at most.
_SELF = re.compile(
    r"\b(?:I\s?(?:am|'m|’m|was|have|'ve|’ve)|my|me|as|you(?:'re|’re| are) talking|soy|je suis|ich bin|sono|eu sou)\b"
    "|我|作为",
    re.IGNORECASE,
)
BEFORE, BEHIND, MOST_LOOKED_AT = 120, 300, 5_000
MOST_NAMES = 20
_MADE_BY = re.compile(rf"(?:\bby{_GAP}{_TEAM}|由|来自|是){_ANY_NAME}", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?\n。！？]")


def names_itself(text: str) -> list[str]:
    """The names by which a response gives its writer away, as they stand in it, each once; empty where it doesn't."""
    text = text[:MAX_MARKDOWN_CHARACTERS]
    key = "model-self-identification:2:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    found: list[str] | None = cache.get(key)
    if found is None:
        found = _find(text)
        cache.set(key, found, timeout=24 * 3600)
    return found


def mask_names(text: str) -> str:
    """The response with every name that gives it away replaced; any other response as it is."""
    return re.sub(_masking(text), MASK, text, flags=re.IGNORECASE) if names_itself(text) else text


def unmasked(written: str, *, original: str) -> str:
    """What somebody made of a masked response, with the hidden names put back in their order.

    Raises Refused (400) where some were taken out or added, so that nobody knows which is which.
    """
    hidden = re.findall(_masking(original), original, flags=re.IGNORECASE) if names_itself(original) else []
    if MASK not in written:
        return written
    if written.count(MASK) != len(hidden):
        raise Refused(
            _(
                "%(mask)s stands for a hidden name. Leave all of them where they are, or write other words in place "
                "of each."
            )
            % {"mask": MASK},
            status=400,
        )
    parts = written.split(MASK)
    return parts[0] + "".join(name + part for name, part in zip(hidden, parts[1:], strict=True))


def _masking(text: str) -> str:
    """The pattern of the names that are hidden in a response."""
    either = "|".join(re.escape(name) for name in sorted(names_itself(text), key=len, reverse=True))
    return rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])"


def _find(text: str) -> list[str]:
    names: dict[str, None] = {}
    for start, end in _stretches(text):
        for pattern in _SAYS:
            for match in pattern.finditer(text, start, end):
                names[match["name"]] = None
                # "I am Claude, made by Anthropic": the rest of the sentence speaks of the same.
                rest = _SENTENCE_END.split(text[match.end() : match.end() + 120], maxsplit=1)[0]
                names.update(dict.fromkeys(again["name"] for again in _MADE_BY.finditer(rest)))
                if len(names) >= MOST_NAMES:
                    return list(names)
    return list(names)


def _stretches(text: str) -> list[tuple[int, int]]:
    """The parts of a text in which it may speak of itself, in order, without overlap."""
    found: list[tuple[int, int]] = []
    looked_at = 0
    for match in _SELF.finditer(text):
        start, end = max(0, match.start() - BEFORE), min(len(text), match.end() + BEHIND)
        looked_at += end - max(start, found[-1][1] if found else 0)
        if found and start <= found[-1][1]:
            start = found.pop()[0]
        found.append((start, end))
        if looked_at >= MOST_LOOKED_AT:
            break
    return found
