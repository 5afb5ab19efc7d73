"""What the audit log says of reference data and keys: no block of a key, no number that may be a card's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from switch.logs import mask_text
from switch.reference import Item

if TYPE_CHECKING:
    from terminals.registry import StoredKey


def told_of(of: Item | dict[str, Any]) -> dict[str, Any]:
    """An item, or the content of its former version. A personal account's number is its card's."""
    content = of.content if isinstance(of, Item) else of
    if account := content.get("settlement_account"):
        content = {**content, "settlement_account": mask_text(account)}
    if isinstance(of, Item):
        return {"content": content, "effective_from": of.effective_from, "version": of.version}
    return {"content": content}


def told_of_key(key: StoredKey) -> tuple[str, None, dict[str, Any]]:
    """Object, before and after."""
    after = {"check_value": key.check_value, "lmk_id": key.lmk_id, "version": key.version}
    if key.status != "active":
        after["status"] = key.status
    return f"{key.owner} {key.usage}", None, after
