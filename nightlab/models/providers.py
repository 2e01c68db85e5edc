"""What litellm knows of providers without asking them: prices, keys, tokens, the longest answer."""

import math
import os
from collections.abc import Sequence
from typing import Any

from nightlab.models.spending import MILLION, UNKNOWN_PRICE, Price

LONGEST_ANSWER_TOKENS = 131_072
"""No model writes more in one answer, so a limit above it is none."""
USUAL_LONGEST_ANSWER_TOKENS = 32_000
"""The most that is asked for where a model's own limit is not known: many refuse to be asked for
more than they can."""
CHARACTERS_PER_TOKEN = 3.0
"""Of a prompt whose model litellm does not know; source code has more tokens than prose."""
FREE_PROVIDERS = ("ollama/", "ollama_chat/", "lemonade/", "llamafile/", "lm_studio/")
"""Where a price of nothing is one. Elsewhere litellm's list has 0 for prices that it lacks: of new
models of known families, and of those that are priced in steps."""


def import_litellm() -> Any:
    """Import litellm, which takes seconds, with what must be set before.

    The price list and the tokenizers are those that came with the package, so that nothing is
    fetched. A file ``.env`` is not read: keys come from the environment as it is.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    if litellm.client_session is None:
        import httpx

        from nightlab.models.wire import Wire

        # The one for the providers that it asks with OpenAI's client, the other for the rest.
        litellm.sync_transport = Wire()
        litellm.client_session = httpx.Client(transport=litellm.sync_transport, timeout=None)
    return litellm


def missing_keys(model: str) -> list[str]:
    """Names of the variables that hold the provider's key, where none of them is set."""
    missing = import_litellm().validate_environment(model)["missing_keys"]
    return [name for name in missing if name.endswith("_API_KEY")]


def takes_effort(model: str) -> bool:
    """Whether litellm knows that a model can be told how long to think."""
    return "reasoning_effort" in (import_litellm().get_supported_openai_params(model) or ())


def speaks_chat(model: str) -> bool:
    """Whether a model's server speaks OpenAI's chat protocol, and may take what litellm's list
    does not have of it.
    """
    litellm = import_litellm()
    provider = model.partition("/")[0]
    return provider in ("openai", "azure") or provider in litellm.openai_compatible_providers


def price_of(model: str) -> Price:
    """What a token costs, by the list that came with litellm."""
    litellm = import_litellm()
    try:
        dollars = litellm.cost_per_token(
            model=model, prompt_tokens=MILLION, completion_tokens=MILLION
        )
    except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
        return UNKNOWN_PRICE
    prompt, completion = (float(amount) / MILLION for amount in dollars)
    if not (prompt or completion or _is_free(model)):
        return UNKNOWN_PRICE
    return Price(prompt=prompt, completion=completion)


def cost_of(response: Any, model: str) -> float | None:
    """What a call cost, in dollars; None where no price is known."""
    litellm = import_litellm()
    try:
        cost = litellm.completion_cost(completion_response=response, model=model)
    except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
        return None
    if cost == 0 and not _is_free(model):
        return None
    return float(cost) if math.isfinite(cost) and cost >= 0 else None


def count_tokens(model: str, messages: Sequence[dict[str, str]]) -> int:
    """Tokens of a chat: as litellm counts for OpenAI's models; for others not below a guess.

    It has the tokenizer of the former only, and those of other makers may give more tokens.
    """
    litellm = import_litellm()
    characters = sum(len(message["content"]) for message in messages)
    guess = math.ceil(characters / CHARACTERS_PER_TOKEN)
    # Not get_model_info, which asks a server where a provider has one.
    names = {model, model.partition("/")[2]} & litellm.model_cost.keys()
    if not names:
        return guess
    count = int(litellm.token_counter(model=model, messages=list(messages)))
    makers = {litellm.model_cost[name].get("litellm_provider") for name in names}
    return count if makers <= {"openai", "azure"} else max(count, guess)


def longest_answer(model: str) -> int:
    """Tokens of the longest answer that a model writes, where litellm's list says."""
    litellm = import_litellm()
    try:
        listed = litellm.get_model_info(model).get("max_output_tokens")
    except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
        listed = None
    return listed if isinstance(listed, int) and listed > 0 else USUAL_LONGEST_ANSWER_TOKENS


def _is_free(model: str) -> bool:
    return model.startswith(FREE_PROVIDERS)
