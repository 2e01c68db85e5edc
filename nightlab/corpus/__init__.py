"""The corpus: text in, three splits of tokens out, prepared once.

source (embedded, files, climbmix)  ->  documents without repeats
documents  ->  train / val / holdout, without overlap
train  ->  tokenizer  ->  uint16 files and a manifest with a fingerprint
"""

from nightlab.corpus.folder import Corpus, Manifest, SplitSize, open_corpus
from nightlab.corpus.prepare import find_corpus, prepare_corpus
from nightlab.corpus.sources import CorpusRequest, text_at_most

__all__ = [
    "Corpus",
    "CorpusRequest",
    "Manifest",
    "SplitSize",
    "find_corpus",
    "open_corpus",
    "prepare_corpus",
    "text_at_most",
]
