"""Continue a text with the model in this folder: ``python generate.py "text"``.

It needs torch and nothing else. ``train.py`` beside it builds the model; it was written by whatever
proposed it in the study, and runs here as any program of yours does, outside of a sandbox.
"""

import argparse
import base64
import json
import os
import re
import sys
import warnings
from itertools import pairwise
from pathlib import Path

warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch does without

import torch  # noqa: E402

FILLER = 0
"""The token id that stands after the text, where a causal model does not look."""


class Tokenizer:
    """Byte-pair encoding as tiktoken does it, from the ``tokenizer.json`` of a kept model."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self._tokens = [base64.b64decode(token) for token in content["tokens"]]
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        self._pieces = re.compile(content["python_pattern"])
        self.bos = len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without BOS."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        tokens: list[int] = []
        for piece in self._pieces.findall(text):
            tokens += self._merged(piece.encode())
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens; what is cut off in the middle of a character shows as such."""
        return b"".join(self._tokens[token] for token in tokens).decode(errors="replace")

    def _merged(self, piece: bytes) -> list[int]:
        """Join neighbours, each time those whose union was learnt first, until none was learnt."""
        if piece in self._ids:
            return [self._ids[piece]]
        parts = [bytes([byte]) for byte in piece]
        while len(parts) > 1:
            unions = [first + second for first, second in pairwise(parts)]
            ids = [self._ids.get(union, self.bos) for union in unions]
            first = min(range(len(ids)), key=ids.__getitem__)
            if ids[first] == self.bos:
                break
            parts[first : first + 2] = [unions[first]]
        return [self._ids[part] for part in parts]


@torch.no_grad()
def continue_tokens(
    model: torch.nn.Module,
    tokens: list[int],
    *,
    sequence_length: int,
    device: str,
    length: int,
    temperature: float,
    seed: int,
    end: int,
) -> list[int]:
    """Write on after some tokens.

    The model always sees ``sequence_length`` tokens, as it was trained and scored: no more, and
    filler after the text where that is shorter.

    Args:
        model: gives logits [1, sequence_length, vocab_size] for tokens [1, sequence_length].
        tokens: one at least.
        sequence_length: of the model.
        device: where the model is.
        length: how many tokens to write, at most.
        temperature: 0 always takes the likeliest.
        seed: of the draws.
        end: the token at which the document ends.
    """
    random = torch.Generator().manual_seed(seed)
    written: list[int] = []
    while len(written) < length:
        shown = (tokens + written)[-sequence_length:]
        row = shown + [FILLER] * (sequence_length - len(shown))
        logits = model(torch.tensor([row], device=device))[0, len(shown) - 1].float().cpu()
        if temperature > 0:
            chances = torch.softmax(logits / temperature, dim=-1)
            token = int(torch.multinomial(chances, 1, generator=random))
        else:
            token = int(logits.argmax())
        if token == end:
            break
        written.append(token)
    return written


def load_model(folder: Path, config: dict[str, int], device: str) -> torch.nn.Module:
    """Build the model of a folder and give it its weights."""
    os.environ.setdefault("NIGHTLAB_COMPILES", "0")  # so that no compiler is needed
    sys.path.insert(0, str(folder))
    import runtime
    import train
    import weights

    spec = runtime.Spec(config["vocab_size"], config["sequence_length"], device)
    model: torch.nn.Module = train.build_model(spec)
    model.load_state_dict(weights.read(folder / "model.safetensors"))
    return model.to(device).eval()


def main() -> None:
    """Read the command line, write the text and what follows it."""
    parser = argparse.ArgumentParser(description="Continue a text with the model in this folder.")
    parser.add_argument("text")
    parser.add_argument("--length", type=int, default=100, help="most tokens to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    asked = parser.parse_args()
    folder = Path(__file__).resolve().parent
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer(folder / "tokenizer.json")
    written = continue_tokens(
        load_model(folder, config, asked.device),
        [tokenizer.bos, *tokenizer.encode(asked.text)],
        sequence_length=config["sequence_length"],
        device=asked.device,
        length=asked.length,
        temperature=asked.temperature,
        seed=asked.seed,
        end=tokenizer.bos,
    )
    sys.stdout.write(asked.text + tokenizer.decode(written) + "\n")


if __name__ == "__main__":
    main()
