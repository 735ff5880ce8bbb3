"""The one exception that means: the input was wrong, not the program."""


class InputError(ValueError):
    """Wrong input. The message names the file or argument, what was found, what was expected and what to do.

    Commands print it as one line and exit with code 2, before anything is written.
    """
