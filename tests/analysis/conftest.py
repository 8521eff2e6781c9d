"""The folder of tasks with two languages, and the empty root of a board."""

from tests.board.conftest import root as root
from tests.board.conftest import two_languages as two_languages
