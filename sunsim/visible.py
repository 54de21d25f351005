"""Text as it may be shown: what a terminal would obey, or a reader would not see, is spelled out."""


def visible(text: str) -> str:
    r"""One line: controls, line ends and what turns the reading direction stand as Python escapes them, as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which it keeps."""
    return "\n".join(map(visible, text.split("\n")))
