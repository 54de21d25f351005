"""The synthetic tasks: answers are right, parts share no prompt, and what is held out was never shown."""

import random
from collections.abc import Callable, Sequence
from itertools import islice

import pytest

from profiler.tuning.experiment import list_programs, math_problems, tool_calls
from profiler.tuning.experiment.corpus import WIDTH, piece
from profiler.tuning.experiment.math_problems import Step
from profiler.tuning.experiment.tasks import MIXTURE, PARTS, TASKS, VOCABULARY, examples, mixture
from profiler.tuning.experiment.words import ASK, Example

COUNT = 300


def cut(words: Sequence[str], mark: str) -> list[list[str]]:
    """The words between marks."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == mark:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def drawn(family: str) -> list[Example]:
    """Of a family, as in pre-training and of both held-out tasks."""
    (known,) = (make for make, _ in MIXTURE if make.__name__ == family)
    draw = random.Random(5)
    tasks = [
        task
        for name, task in TASKS.items()
        if name.startswith(family.split("_", maxsplit=1)[0].replace("tool", "call"))
    ]
    assert len(tasks) == 2
    return [make(draw) for make in (known, *(task.make for task in tasks)) for _ in range(COUNT)]


def test_the_results_of_word_problems_are_those_of_their_events() -> None:
    for prompt, response in drawn("math_problem"):
        _, told, *events = cut(prompt, ".")
        have = int("".join(told[2:-1]))
        for verb, *digits in events[:-1]:
            by = int("".join(digits) or 0)
            if verb in {"gets", "finds", "buys", "harvests", "wins"}:
                have += by
            elif verb in {"loses", "sells", "gives", "drops", "lends"}:
                have -= by
            elif verb in {"doubles", "breeds"}:
                have *= 2
            else:
                have = {"hoards": have + 2 * by, "trades": 2 * (have - by)}[verb]
        ends = {"steps": ["answer"], "totals": ["total"], "arrows": ["->"], "report": [told[0], ":"]}[prompt[1]]
        item = {"arrows": [",", told[-1]], "report": [told[-1]]}.get(prompt[1], [])
        assert response[-len([*ends, *str(have), *item]) :] == (*ends, *str(have), *item)


def test_every_worked_step_is_an_equation_that_holds() -> None:
    for name in ("math-words", "math-format"):
        for example in examples(name, "test", 1, COUNT):
            words = "".join(example.response)
            lines = words.split(";")[:-1] if name == "math-words" else [part[1:] for part in words.split("]")[:-1]]
            for line in lines:
                left, right = line.split("=")
                assert eval(left) == eval(right)


def test_the_last_list_is_what_the_program_makes_of_the_first() -> None:
    by_place: dict[str, Callable[[int], Sequence[int]]] = {
        "reverse": lambda n: range(n - 1, -1, -1),
        "rotate": lambda n: [*range(1, n), 0],
        "behead": lambda n: range(1, n),
        "chop": lambda n: range(n - 1),
        "echo": lambda n: [*range(n), n - 1],
        "exchange": lambda n: [1, 0, *range(2, n)],
        "lift": lambda n: [n - 1, *range(n - 1)],
        "flip": lambda n: [n - 1, *range(1, n - 1), 0],
        "trim": lambda n: range(1, n - 1),
        "herald": lambda n: [0, *range(n)],
    }
    for prompt, response in drawn("list_program"):
        _, (_, *items), *names, _ = cut(prompt, ".")
        for (name,) in names:
            if name == "increase":
                items = ["0" if x == "9" else "a" if x == "j" else chr(ord(x) + 1) for x in items]
            else:
                items = [items[i] for i in by_place[name](len(items))]
        last = {
            "plain": cut(response[:-1], ";")[-1],
            "bracketed": cut(response[:-1], "[")[-1],
            "listed": cut(response[:-1], "|")[-1],
            "counted": cut(response, ";")[-1][1:-3],
        }[prompt[1]]
        assert [word for word in last if word != ","] == items
        if prompt[1] == "counted":
            assert response[-1] == str(len(items))


def test_calls_have_the_arguments_of_the_request_in_the_order_of_the_schema() -> None:
    functions = {
        said: name for wording in (tool_calls.KNOWN, tool_calls.NEW) for name, said in wording.functions.items()
    }
    parameters = {
        said: name for wording in (tool_calls.KNOWN, tool_calls.NEW) for name, said in wording.parameters.items()
    }
    for prompt, response in drawn("tool_call"):
        _, *tools, (_, said, *asked) = cut(prompt[:-1], ".")
        schema = {name: names for _, name, *names in tools}[functions[said]]
        given = {parameters[asked[i]]: asked[i + 1] for i in range(0, len(asked), 2)}
        wanted = [given.get(name, "none") for name in schema]
        values = {*given.values(), "none"}
        assert [word for word in response if word in values] == wanted
        if prompt[1] != "positional":
            assert [word for word in response if word in tool_calls.PARAMETERS] == schema
        assert functions[said] in response[:4]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (math_problems.steps("ann", "coins", [Step(12, "+", 7, 19)]), "1 2 + 7 = 1 9 ; answer 1 9"),
        (math_problems.totals("ann", "coins", [Step(12, "+", 7, 19)]), "1 2 ; 1 9 ; total 1 9"),
        (math_problems.arrows("ann", "coins", [Step(12, "+", 7, 19)]), "1 2 -> + 7 -> 1 9 , coins"),
        (math_problems.results_first("ann", "coins", [Step(12, "+", 7, 19)]), "[ 1 9 = 1 2 + 7 ] ann : 1 9 coins"),
        (list_programs.plain([["7", "1"], ["1", "7"]]), "7 1 ; 1 7 ."),
        (list_programs.bracketed([["7", "1"], ["1", "7"]]), "[ 7 1 ] [ 1 7 ]"),
        (list_programs.listed([["7", "1"], ["1", "7"]]), "7 , 1 | 1 , 7 ."),
        (list_programs.counted([["7", "1"], ["1", "7"]]), "( 7 , 1 ) : 2 ; ( 1 , 7 ) : 2"),
        (tool_calls.call("paint", [("color", "red"), ("day", "none")]), "paint ( color = red , day = none )"),
        (tool_calls.lines("paint", [("color", "red")]), "paint ; color red ."),
        (tool_calls.positional("paint", [("color", "red"), ("day", "none")]), "paint : red | none ."),
        (tool_calls.json_like("paint", [("color", "red")]), "{ name : paint , args : { color : red } }"),
    ],
)
def test_layouts(words: list[str], text: str) -> None:
    assert " ".join(words) == text


@pytest.mark.parametrize("name", TASKS)
def test_no_prompt_is_in_two_parts_whatever_the_seed(name: str) -> None:
    prompts = {
        part: {example.prompt for seed in range(3) for example in examples(name, part, seed, 100)} for part in PARTS
    }
    assert all(len(found) >= 100 for found in prompts.values())
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["validation"]
    assert not prompts["validation"] & prompts["test"]


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_distinct_and_those_of_their_seed(name: str) -> None:
    once = examples(name, "train", 0, COUNT)
    assert once == examples(name, "train", 0, COUNT)
    assert once != examples(name, "train", 1, COUNT)
    assert len({example.prompt for example in once}) == COUNT


def test_pre_training_shows_nothing_that_is_held_out() -> None:
    held_out = {
        *math_problems.NEW_VERBS,
        *math_problems.NEW_LAYOUTS,
        *list_programs.NEW_OPERATORS,
        *list_programs.NEW_LAYOUTS,
        *tool_calls.NEW.functions.values(),
        *tool_calls.NEW.parameters.values(),
        *tool_calls.NEW_LAYOUTS,
    }
    shown = [e for e in islice(mixture(0), 5000) if e.prompt[0] == "format"]
    assert len(shown) > 4000
    assert not held_out & {word for example in shown for word in (*example.prompt, *example.response)}
    for name in TASKS:
        assert held_out & {word for example in examples(name, "test", 0, 50) for word in example.prompt}


def test_all_words_have_a_token_and_all_are_seen() -> None:
    assert len(VOCABULARY) <= 256
    seen = {word for example in islice(mixture(1), 20000) for word in example.prompt}
    assert seen == set(VOCABULARY.words[4:]) | {ASK}


def test_a_piece_of_the_corpus_is_the_mixture_in_its_order() -> None:
    made = piece(3, 50)
    for i, example in enumerate(islice(mixture(3), 50)):
        prompt, response = VOCABULARY.prompt_ids(example), VOCABULARY.response_ids(example)
        assert (made.prompt_tokens[i], made.tokens[i]) == (len(prompt), len(prompt) + len(response))
        assert made.ids[i].tolist() == [*prompt, *response, *[VOCABULARY.pad] * (WIDTH - made.tokens[i])]
