"""The exception for invalid input, as opposed to a failure of the program."""


class InputError(ValueError):
    """Invalid input. The message names the file or argument, what was found, what was expected, and what to do.

    Commands print it as one line and exit with code 2, before writing anything.
    """
