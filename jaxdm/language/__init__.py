"""Models that decide in words: a decoder of open-weight checkpoints, its text, its replies, and its fine-tuning."""

from jaxdm.language.decoder import DecoderConfig
from jaxdm.language.lora import Lora
from jaxdm.language.sampling import Generated, Sampling, make_sampler
from jaxdm.language.tokenizer import Tokenizer, WordTokenizer, assistant_spans, pad_left
from jaxdm.language.weights import LanguageModel, load

__all__ = [
    "DecoderConfig",
    "Generated",
    "LanguageModel",
    "Lora",
    "Sampling",
    "Tokenizer",
    "WordTokenizer",
    "assistant_spans",
    "load",
    "make_sampler",
    "pad_left",
]
