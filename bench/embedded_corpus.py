"""The corpus that ships with Nightlab, at a preset's sizes, for a bench that needs no session."""

from nightlab.corpus import Corpus, CorpusRequest, open_corpus, prepare_corpus
from nightlab.presets import PRESETS
from nightlab.settings import Places


def embedded_corpus(preset: str) -> Corpus:
    """Prepare the embedded corpus, or open the one that is prepared already."""
    sizes = PRESETS[preset]
    request = CorpusRequest(
        source="embedded",
        vocab_size=sizes.vocab_size,
        megabytes=sizes.corpus_megabytes,
        sequence_length=sizes.sequence_length,
        evaluation_tokens=sizes.evaluation_tokens,
    )
    return open_corpus(prepare_corpus(request, Places.find().cache).folder)
