"""A step of ``prefect deploy``: what a deployment has to know of the clone it is made from."""

import re
from pathlib import Path

import git

from nightlab.errors import UsageError
from nightlab.machine.clock import zone_name
from nightlab.redaction import redact


def describe_clone() -> dict[str, str]:
    """Where workers clone the code from, which branch, and whose nights are meant.

    Returns:
        ``repository``, ``branch`` and ``timezone``, for the placeholders of prefect.yaml. A
        password in the remote's address is left out, since Prefect stores and shows it:
        workers use git's own credentials.

    Raises:
        UsageError: the clone has no remote that a worker could clone from, or this machine no
            time zone with a name.
    """
    repository = git.Repo(Path.cwd(), search_parent_directories=True)
    if "origin" not in [remote.name for remote in repository.remotes]:
        raise UsageError(
            "Workers clone the code from the git remote 'origin', and this clone has none: "
            "`git remote add origin ADDRESS`, then deploy again."
        )
    branch = "HEAD" if repository.head.is_detached else repository.active_branch.name
    if branch == "HEAD":
        raise UsageError(
            "Workers clone a branch, and this clone has a detached HEAD: `git switch BRANCH`, "
            "then deploy again."
        )
    return {
        "repository": without_password(repository.remote("origin").url),
        "branch": branch,
        "timezone": zone_name(),
    }


def without_password(address: str) -> str:
    """The address that a worker clones from; the user of ssh stays, since git needs it."""
    user = re.match(r"ssh://([^:@/]+)[:@]", address)
    shown = redact(address)
    return shown.replace("ssh://", f"ssh://{user[1]}@", 1) if user else shown
