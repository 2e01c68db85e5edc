"""Puts the automations of automations.yaml onto Prefect's server, with the places that are told."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from apprise import Apprise
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.prefect_health import require_api
from nightlab.errors import UsageError

FILE = "automations.yaml"
JSON = SecretDict({"Content-Type": "application/json"})


def notify(address: str, root: Path) -> list[str]:
    """Have a place told, beside those that are told already.

    Args:
        address: a webhook's, Slack's, or an e-mail's as Apprise writes it.
        root: the clone whose automations are meant.

    Returns:
        Names of the automations that tell it.

    Raises:
        UsageError: it is no such address, no server is configured, or the file cannot be read.
        MachineryError: the server does not answer.
    """
    name, block = _block_for(address)
    server = PREFECT_API_URL.value()
    if not server:
        raise UsageError(
            "What happens is told by a Prefect server that stays, and none is configured: `export "
            "PREFECT_API_URL=http://HOST:4200/api`, then the same again."
        )
    require_api(server)
    block.save(name, overwrite=True)
    with get_client(sync_client=True) as client:
        wanted = _automations(root, dict(_known_blocks(client)))
        for each in wanted:
            _put(client, each)
    return [each.name for each in wanted]


def _block_for(address: str) -> tuple[str, Block]:
    """The block that an address is kept in, with its name in the file."""
    parts, url = urlsplit(address), SecretStr(address)
    if parts.hostname in ("hooks.slack.com", "hooks.slack-gov.com"):
        name, accepted = "nightlab-slack", Apprise.instantiate(address) is not None
    elif parts.scheme in ("mailto", "mailtos"):
        name, accepted = "nightlab-email", Apprise.instantiate(address) is not None
        # What a model called its change is no HTML.
        url = SecretStr(f"{address}{'&' if parts.query else '?'}format=text")
    elif parts.scheme in ("http", "https") and parts.hostname:
        return "nightlab-webhook", Webhook(url=url, headers=JSON)
    else:
        name, accepted = "", False
    if not accepted:
        raise UsageError(
            "Whom to tell needs an address such as https://HOST/PATH (a webhook), "
            "https://hooks.slack.com/services/… (Slack) or "
            "mailtos://MAILHOST?user=USER&pass=PASSWORD&to=YOU (e-mail), and this is none of "
            "them, or not whole: see automations.yaml."
        )
    # Prefect has no block for a mail server of one's own, and its Slack block takes any address
    # that Apprise knows.
    return name, SlackWebhook(url=url)


def _known_blocks(client: SyncPrefectClient) -> Iterator[tuple[str, str]]:
    """The places that are told: the identifier of each one's block, by its name in the file."""
    for name, kind in (
        ("nightlab-webhook", Webhook),
        ("nightlab-slack", SlackWebhook),
        ("nightlab-email", SlackWebhook),
    ):
        try:
            found = client.read_block_document_by_name(name, kind.get_block_type_slug())
        except ObjectNotFound:
            continue
        yield name, str(found.id)


def _automations(root: Path, known: dict[str, str]) -> list[AutomationCore]:
    """The automations of the file, with what they do for the places that are known."""
    try:
        written = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))["automations"]
        return [
            AutomationCore.model_validate(
                {
                    **each,
                    "actions": [
                        {**action, "block_document_id": known[action["block_document_id"]]}
                        for action in each["actions"]
                        if action["block_document_id"] in known
                    ],
                }
            )
            for each in written
        ]
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{FILE} needs to list automations as Prefect takes them, and reading it failed "
            f"({error}): `git checkout {FILE}` brings back the one of this version."
        ) from error


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create an automation, or bring the one of its name up to date."""
    found = client.read_automations_by_name(wanted.name)
    if found:
        switched = wanted.model_copy(update={"enabled": found[0].enabled})
        client.update_automation(found[0].id, switched)
    else:
        client.create_automation(wanted)
