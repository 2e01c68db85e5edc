"""What MLflow's pages get of a model's calls."""

from nightlab.tracking.traces import as_code
from tests.hostile_texts import HOSTILE
from tests.test_shown import structure


def test_what_messages_say_is_code_and_all_else_stays() -> None:
    for text in HOSTILE.values():
        message = {"role": "assistant", "content": text, "reasoning_content": text, "refusal": None}
        call = {"messages": [{"role": "user", "content": text}], "n": 1, "ids": (1, 2)}
        shown = as_code({**call, "choices": [{"message": message, "index": 0}]})
        answer = shown["choices"][0]["message"]
        asked = shown["messages"][0]["content"]
        assert structure(asked) == structure(answer["content"]) == ["fence"]
        assert structure(answer["reasoning_content"]) == ["fence"]
        assert (answer["role"], answer["refusal"], shown["ids"]) == ("assistant", None, (1, 2))
        assert type(asked) is str
    assert as_code({"content": None}) == {"content": None}
