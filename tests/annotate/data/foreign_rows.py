"""A row of each format of others, written for these tests."""

from typing import Any

QUESTION = {"role": "user", "content": "Name a fruit."}
APPLE, PEAR = ({"role": "assistant", "content": text} for text in ("An apple.", "A pear."))

FOREIGN: dict[str, dict[str, Any]] = {
    "ultrafeedback": {
        "source": "made_up",
        "instruction": "Name a fruit.",
        "models": ["m-1", "m-2", "m-3"],
        "completions": [
            {
                "model": "m-1",
                "response": "An apple.",
                "annotations": {"helpfulness": {"Rating": "4", "Rationale": "Short."}, "honesty": {"Rating": "5"}},
                "critique": "Could say more.",
                "overall_score": 8.0,
            },
            {"model": "m-2", "response": "A pear.", "annotations": {"helpfulness": {"Rating": "2"}}},
            {"model": "m-3", "response": "Bread.", "annotations": {"helpfulness": {"Rating": "N/A"}}},
        ],
    },
    "helpsteer": {
        "domain": "general",
        "language": "english",
        "context": [QUESTION],
        "response1": "An apple.",
        "response2": "A pear.",
        "overall_preference": -2,
        "individual_preference": [
            {"score": -3, "reasoning": "The first is better.", "feedback1": "Fine.", "feedback2": "Dull."},
            {"score": 1, "reasoning": "The second."},
            {"score": 0},
        ],
    },
    "shp": {
        "post_id": "p1",
        "domain": "askbaking",
        "history": "Which fruit goes into a cake?",
        "human_ref_A": "Plums.",
        "human_ref_B": "Any.",
        "labels": 0,
        "score_A": 3,
        "score_B": 11,
        "seconds_difference": 60.0,
        "score_ratio": 3.7,
        "upvote_ratio": 0.9,
    },
    "summarize_feedback": {
        "info": {"id": "t3_1", "post": "My cake fell in.", "title": "Cake", "subreddit": "baking"},
        "split": "train",
        "summaries": [
            {"text": "Cake fell in.", "policy": "sup1", "note": "Fine"},
            {"text": "A cake.", "policy": "ref", "note": None},
        ],
        "choice": 1,
        "worker": "w9",
        "batch": "b3",
        "extra": {"confidence": 7},
    },
    "arena": {
        "question_id": 81,
        "model_a": "m-1",
        "model_b": "m-2",
        "winner": "model_b",
        "judge": "expert_3",
        "conversation_a": [QUESTION, APPLE, {"role": "user", "content": "Another?"}, PEAR],
        "conversation_b": [QUESTION, PEAR, {"role": "user", "content": "Another?"}, APPLE],
        "turn": 1,
        "language": "English",
    },
    "open_webui": {
        "id": "f1",
        "user_id": "u1",
        "version": 0,
        "type": "rating",
        "data": {
            "rating": -1,
            "model_id": "m-1",
            "reason": "too_short",
            "comment": "Say more.",
            "details": {"rating": 3},
            "tags": ["fruit"],
        },
        "meta": {"message_id": "b", "chat_id": "c", "message_index": 2, "model_id": "m-1", "arena": False},
        "snapshot": {
            "chat": {
                "title": "Fruit",
                "chat": {
                    "models": ["m-1"],
                    "history": {
                        "currentId": "b",
                        "messages": {
                            "a": {"id": "a", "parentId": None, "childrenIds": ["b", "c"], **QUESTION},
                            "b": {"id": "b", "parentId": "a", "childrenIds": [], "model": "m-1", **APPLE},
                            "c": {"id": "c", "parentId": "a", "childrenIds": [], "model": "m-2", **PEAR},
                        },
                    },
                },
            }
        },
        "created_at": 1750000000,
        "updated_at": 1750000001,
    },
    "argilla": {
        "id": "r1",
        "status": "completed",
        "fields": {"prompt": "Name a fruit.", "response_1": "An apple.", "response_2": "A pear."},
        "metadata": {"lang": "en", "response_1_model": "m-1"},
        "responses": {
            "ranking": [
                {"user_id": "ann", "value": ["response_2", "response_1"], "status": "submitted"},
                {"user_id": "ben", "value": [{"value": "response_1", "rank": 1}, {"value": "response_2", "rank": 1}]},
                {"user_id": "cem", "value": ["response_1", "response_2"], "status": "discarded"},
            ],
            "help_1": [{"user_id": "ann", "value": 4}],
            "why": [{"user_id": "ann", "value": "Pears keep."}],
        },
        "suggestions": {},
    },
}
