"""What a message shows of what a user gave."""

from __future__ import annotations

from sunsim.errors import clipped, clipped_list


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clipped("a" * 80) == "a" * 80
    assert clipped("a" * 81) == "a" * 80 + "..."
    assert clipped("abc", 2) == "ab..."


def test_what_a_terminal_would_not_show_is_escaped() -> None:
    assert clipped("a\nb\0\x1b[31m\u202e\ud800") == r"a\nb\x00\x1b[31m\u202e\ud800"
    assert clipped("Grüße, 日本") == "Grüße, 日本"


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert clipped_list([str(i) for i in range(20)]).endswith("18, 19")
    assert clipped_list(range(2_000_000), most=3) == "0, 1, 2 and 1,999,997 more"
    assert clipped_list({"a\n": 1, "b" * 50: 2}) == rf"a\n, {'b' * 40}..."
