"""Text of others, made safe to print."""


def printable(text: str, keep: str = "") -> str:
    """
    Return *text* in one line, without the signs that would steer a terminal.

    *keep* are the control characters that stay.
    """
    line = " ".join(text.split())
    return "".join(sign for sign in line if sign.isprintable() or sign in keep)
