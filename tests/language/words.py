"""A vocabulary of 40 words, of which some join to the strings that tests search for."""

from jaxdm.language.tokenizer import WordTokenizer


def tokenizer() -> WordTokenizer:
    letters = [f" {letter}" for letter in "abcdefgh"] + list("abcdefgh")
    return WordTokenizer([*letters, " Decision", ":", ".", "\n", " ", *"01234567", "x", " x", "y", " y", "z", " z"])
