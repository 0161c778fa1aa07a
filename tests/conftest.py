"""What all tests share: a command line is built once, not each time that a test calls it."""

from functools import cache

import typer.testing

typer.testing._get_command = cache(typer.testing._get_command)
