"""Whether a person's command can run here, looked at before anything is trained.

Only what is certainly wrong is refused. The shell itself says whether it can read the command and
what it finds on its PATH. Looked for is what the command starts first: a program, or several with
pipes between. What comes after that may have been installed by it, and whatever this module does
not understand (expansions, substitutions, compound commands) is left for the run to show.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from nightlab.models.texts import one_line
from nightlab.proposers.command.agent import RUNTIME_FILE, SHELL
from nightlab.proposers.command.workshop import BRIEF_FILE
from nightlab.settings import TRAINER_FILE

WORKSHOP_FILES = (TRAINER_FILE, RUNTIME_FILE, BRIEF_FILE)
SAID_CHARACTERS = 200
_TOKEN = re.compile(
    r"""
    (?P<blank> [ \t\r]+ | \\\n )
  | (?P<redirection> \d* (?: >> | >& | <& | >\| | <> | &> | > | <(?!<) ) )
  | (?P<operator> && | \|\| | [|;&\n] )
  | (?P<word> (?!\#) (?: [^\s;&|()<>"'\\`] | \\. | '[^']*' | "(?:[^"\\]|\\.)*" )+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_NOT_PLAIN = re.compile(r"[$`*?\[{~]")
_STARTERS = ("env", "exec", "nohup", "command")
"""What starts the program whose name follows, where no option does."""
_INTERPRETER = re.compile(r"(?:ba|da|k|z)?sh|python[\d.]*|node|perl|ruby")
_RESERVED = {"!", "{", "[[", "case", "for", "function", "if", "select", "until", "while"}


@dataclass(frozen=True, slots=True)
class _Simple:
    """A program with its arguments, and the operator after it."""

    words: tuple[str, ...]
    """As they are written, with their quotes."""
    operator: str


def command_problem(command: str, environment: Mapping[str, str]) -> str | None:
    """Why a command of ``/bin/sh -c`` can certainly not run here, as a sentence; None if it may."""
    unreadable = _unreadable(command, environment)
    if unreadable is not None:
        return f"The command cannot be read by {SHELL} ({unreadable}): correct --command."
    missing = _missing(_read(command), environment)
    return None if missing is None else f"The command cannot run here: {missing}."


def _unreadable(command: str, environment: Mapping[str, str]) -> str | None:
    try:
        done = _shell(("-n", "-c", command), environment)
    except (OSError, ValueError) as error:
        return str(error)
    return one_line(done.stderr, SAID_CHARACTERS) or "no reason given" if done.returncode else None


def _shell(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SHELL, *arguments],
        cwd="/",
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _read(command: str) -> list[_Simple]:
    """A list of simple commands; none where the text is anything else."""
    found: list[_Simple] = []
    words: list[str] = []
    position, is_target = 0, False
    while position < len(command):
        token = _TOKEN.match(command, position)
        if token is None:
            return []
        position = token.end()
        if token.lastgroup == "operator":
            found.append(_Simple(tuple(words), token[0]))
            words = []
        elif token.lastgroup == "word" and not is_target:
            words.append(token[0])
        if token.lastgroup != "blank":
            is_target = token.lastgroup == "redirection"
    found = [each for each in (*found, _Simple(tuple(words), "")) if each.words]
    return [] if any(each.words[0] in _RESERVED for each in found) else found


def _missing(commands: Sequence[_Simple], environment: Mapping[str, str]) -> str | None:
    """What is not there of what runs first, as a clause with its remedy."""
    left = list(dropwhile(_is_change_of_folder, commands))
    changes = commands[: len(commands) - len(left)]
    ends = [each.operator for each in left[:-1]]
    first = [each for place, each in enumerate(left) if all(end == "|" for end in ends[:place])]
    # What comes after a failure, such as another command, may be what does the work.
    if any(end not in ("|", "&&") for end in ends) or (left and left[-1].operator == "&"):
        return None
    folder = _folder(changes)
    for each in first:
        problem = _missing_program(each.words, folder, environment)
        if problem is not None:
            return problem
    return None


def _is_change_of_folder(command: _Simple) -> bool:
    return command.words[0] == "cd" and command.operator in ("&&", ";", "\n")


def _folder(changes: Sequence[_Simple]) -> Path | None:
    """Where the command is after these; None where that is not known.

    A relative path stands for one in the command's own folder.
    """
    here = Path()
    for change in changes:
        target = _plain(change.words[1]) if len(change.words) == 2 else None
        if target is None:
            return None
        here /= target
    return here


def _missing_program(
    words: Sequence[str], folder: Path | None, environment: Mapping[str, str]
) -> str | None:
    """The same of one program and of the script that it is to run."""
    left = list(dropwhile(lambda word: word in _STARTERS or _ASSIGNMENT.match(word), words))
    before = words[: len(words) - len(left)]
    name = _plain(left[0]) if left else None
    if name is None or name.startswith("-") or any(word.startswith("PATH=") for word in before):
        return None
    if "/" in name:
        problem = _missing_file(name, folder)
        if problem is None and not _may_run(name, folder):
            problem = f"`{name}` may not be executed (make it so with `chmod +x`)"
    else:
        problem = None if _is_on_path(name, environment) else _not_on_path(name)
    script = _plain(left[1]) if len(left) > 1 else None
    if problem is not None or script is None or script.startswith("-"):
        return problem
    is_script = _INTERPRETER.fullmatch(Path(name).name) and not _is_on_path(script, environment)
    return _missing_file(script, folder) if is_script else None


def _plain(word: str) -> str | None:
    """A word without its quotes; None where the shell would make something else of it."""
    return None if _NOT_PLAIN.search(word) else "".join(shlex.split(word))


def _is_on_path(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the shell knows it: on its PATH, as a builtin, or as a function."""
    return _shell(("-c", 'command -v -- "$1"', "sh", name), environment).returncode == 0


def _not_on_path(name: str) -> str:
    return (
        f"there is no program `{name}` on the PATH (install it, or name it by its whole path in "
        "--command)"
    )


def _missing_file(name: str, folder: Path | None) -> str | None:
    if folder is None:
        return None
    path = folder / name
    if not path.is_absolute():
        if os.path.normpath(path) in WORKSHOP_FILES:
            return None
        return (
            f"`{name}` is looked for in the folder that it is given, which holds only "
            f"{', '.join(WORKSHOP_FILES)} (name it by its whole path)"
        )
    if path.is_file():
        return None
    return f"`{path}` is {'a folder' if path.is_dir() else 'not there'} (correct --command)"


def _may_run(name: str, folder: Path | None) -> bool:
    if folder is None:
        return True
    path = folder / name
    return path.is_absolute() and os.access(path, os.X_OK)
