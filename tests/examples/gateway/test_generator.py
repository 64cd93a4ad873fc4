"""The text model: what it writes follows from prompt and seed, and it can go on anywhere."""

from __future__ import annotations

from itertools import islice

import pytest

from examples.gateway.models.generator import Markov, train
from examples.gateway.models.tokens import count, spaced, tokens_of


@pytest.fixture(scope="module")
def markov() -> Markov:
    return train()


def test_tokens_are_words_of_at_most_sixteen_letters_and_single_signs() -> None:
    assert tokens_of("Don't stop, now.") == ["Don", "'", "t", "stop", ",", "now", "."]
    assert tokens_of("a" * 20) == ["a" * 16, "aaaa"]
    assert tokens_of(" \n\t") == []
    assert tokens_of("naïve \ud800 日本") == ["naïve", "\ud800", "日本"]


def test_tokens_are_counted_as_they_are_cut() -> None:
    text = "One, two... \U0001f600 three_four! " + "x" * 40
    assert count([text], 100) == len(tokens_of(text)) == 12
    assert count([text, text], 100) == 24
    assert count([text, text], 13) == 13


def test_tokens_are_put_together_to_a_text() -> None:
    assert "".join(spaced(iter(tokens_of("Stop,  now. Go")))) == "Stop, now. Go"


def test_the_only_word_that_follows_two_is_the_next() -> None:
    """After `a b` there is only c, after `b c` only d; what follows the last word is not known: it begins anew."""
    words = Markov("a b c d . a b c e").words(["a", "b"], seed=1)
    first, second = islice(words, 2)
    assert first == "c"
    assert second in {"d", "e"}


def test_a_word_is_drawn_as_often_as_it_follows_in_the_text() -> None:
    markov = Markov("x a x a x a x b")
    drawn = [next(markov.words(["a", "x"], seed)) for seed in range(600)]
    assert set(drawn) == {"a", "b"}
    assert 2 * drawn.count("b") < drawn.count("a") * 1.4  # after `a x`: a, a, b


def test_the_same_prompt_and_seed_write_the_same(markov: Markov) -> None:
    prompt = tokens_of("What is a class?")
    assert list(markov.texts(prompt, 7, 64)) == list(markov.texts(prompt, 7, 64))
    assert list(markov.texts(prompt, 7, 64)) != list(markov.texts(prompt, 8, 64))
    assert list(markov.texts(prompt, 7, 64)) != list(markov.texts(["Other", *prompt], 7, 64))


@pytest.mark.parametrize("start", [0, 1, 11, 12, 500])
def test_an_answer_can_be_taken_up_after_any_token(markov: Markov, start: int) -> None:
    whole = list(markov.texts(["class"], 7, 12))
    assert list(markov.texts(["class"], 7, 12, start)) == whole[start:]


def test_an_answer_ends_at_the_first_full_stop_in_the_last_quarter_of_what_it_may_have() -> None:
    markov = Markov("a . " * 5)
    assert list(markov.texts(["a"], 1, 4)) == [".", " a", ".", " a"]  # the last may be any
    assert list(markov.texts(["a"], 1, 8)) == [".", " a", ".", " a", ".", " a", "."]


def test_prompts_of_nothing_and_of_no_unicode_are_gone_on_from(markov: Markov) -> None:
    assert len(list(markov.texts([], 7, 4))) == 4
    assert len(list(markov.texts(["\ud800"], 7, 4))) == 4


def test_what_it_writes_are_words_of_the_help_texts(markov: Markov) -> None:
    assert 1_000 < markov.vocabulary < 20_000
    text = "".join(markov.texts(tokens_of("What is a class?"), 7, 1_024))
    assert len(text.split()) > 500
    assert "===" not in text
    assert ">>>" not in text
