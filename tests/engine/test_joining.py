"""Workers before they get work: what they are asked, and what is said of those that cannot be used."""

import importlib.metadata

import pytest

from regjax.engine.joining import difference, kind_of, refusal, without_work
from regjax.study.provenance import versions

FIRST = {"jax": "0.10.2", "device": "cpu", "kernel": "cc 14", "processor": "a fast one"}


class Asked:
    """A client whose only worker answers questions in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def run(self, function, *arguments, workers, on_error):
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return {workers[0]: answer}


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([versions()["regjax"], FIRST], FIRST),
        (["0.0"], f"worker tcp://a must have regjax {versions()['regjax']}, as here, got 0.0"),
        (
            [importlib.metadata.PackageNotFoundError("regjax")],
            f"worker tcp://a must have regjax, and does not: install regjax {versions()['regjax']} there",
        ),
    ],
)
def test_a_worker_is_asked_in_words_that_it_understands(answers, found):
    client = Asked(*answers)
    assert kind_of(client, "tcp://a") == found
    assert client.answers == [], "what lacks regjax is asked for nothing of it"


def test_a_worker_that_is_gone_is_an_error():
    assert isinstance(kind_of(Asked(OSError("gone")), "tcp://a"), OSError)


@pytest.mark.parametrize("name", FIRST)
def test_each_thing_that_bits_depend_on_is_named(name):
    said = difference("tcp://b", FIRST | {name: "another"}, FIRST)
    assert (
        said == f"worker tcp://b has {name} another in place of {FIRST[name]}: its networks have other bits"
    )
    assert difference("tcp://b", dict(FIRST), FIRST) == ""


def test_the_first_two_of_many_are_named():
    hint = "; --mixed, or ?mixed behind the address, takes those that differ and leaves out the others"
    assert refusal(["A"], 3, mend=True) == "A" + hint
    assert refusal(["A", "B"], 3, mend=False) == "2 of 3 workers cannot be used: A; B"
    assert refusal(["A", "B", "C"], 4, mend=True) == "3 of 4 workers cannot be used: A; B; …" + hint
    assert without_work(["A"], 3) == "A; it gets no work"
    assert without_work(["A", "B"], 3) == "2 of 3 workers cannot be used: A; B; they get no work"
