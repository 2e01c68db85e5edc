"""What is said of a remote: never with a password."""

import pytest

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger import Ledger, Remote, remote_studies
from nightlab.ledger.exchange import Exchange
from nightlab.ledger.git_process import GitResult
from nightlab.ledger.plumbing import Plumbing


@pytest.mark.parametrize("how", ["address", "name"])
def test_a_password_is_in_no_sentence(root, git, how):
    address = "http://me:canary-secret@127.0.0.1:9/lab.git"
    where = address
    if how == "name":
        git(root, "remote", "add", "origin", address)
        where = "origin"
    remote = Remote(root, where, "first-light")
    assert "secret" not in remote.name
    Ledger(root, "first-light").create()
    for action in (remote.fetch, remote.push, remote.require_free_names):
        with pytest.raises(RemoteError) as error:
            action()
        assert "127.0.0.1" in str(error.value)
        assert "secret" not in str(error.value)


def test_what_git_says_of_an_address_loses_its_password(root):
    exchange = Exchange(Plumbing(root), "https://me:canary@host/x.git")
    said = "fatal: unable to access 'https://me:canary@host/x.git/': no route"
    result = GitResult(status=128, stdout=b"", stderr=said)
    assert exchange.complaint(result) == "unable to access 'https://host/x.git/': no route"
    assert "canary" not in str(exchange.silent(result))
    assert exchange.name == "https://host/x.git"


@pytest.mark.parametrize("where", ["", "backup", "-u", "--upload-pack=touch x", "-c/x", "a b"])
def test_what_is_no_remote_and_no_address_never_reaches_git(root, where):
    with pytest.raises(UsageError, match="needs to be an address or one of this repository's"):
        Remote(root, where, "first-light")
    with pytest.raises(UsageError, match="it has none"):
        remote_studies(root, where)


@pytest.mark.parametrize(
    "where",
    ["/srv/x.git", "../x.git", ".", "..", "me@host:x.git", "https://host/x", "file:///x", "C:/x"],
)
def test_an_address_will_do(root, where):
    assert Remote(root, where, "first-light").name


def test_a_remote_whose_name_has_a_slash_is_one(root, remote_address, git):
    git(root, "remote", "add", "team/lab", str(remote_address))
    assert Remote(root, "team/lab", "first-light").study_refs() == {}
