"""Who may let what through."""

from datetime import UTC, datetime

import msgspec
import pytest

from settlement.four_eyes import Actor, Proposal, RefusedError, content_hash, judge

PAYLOAD: dict[str, object] = {"amount_minor": 100, "account": "long_suspense"}
PROPOSAL = Proposal(
    id="p1",
    act="case.adjust",
    subject="20260803-R000001",
    payload=PAYLOAD,
    sha256=content_hash("case.adjust", "20260803-R000001", PAYLOAD),
    maker="li",
    made_at=datetime(2026, 8, 4, tzinfo=UTC),
)
CHECKER = Actor("wang", frozenset({"approve:case.adjust"}))


def test_another_operator_with_the_role_lets_it_through() -> None:
    approval = judge(PROPOSAL, CHECKER, seen=PROPOSAL.sha256, used=False)
    assert (approval.proposal, approval.checker) == (PROPOSAL, "wang")


@pytest.mark.parametrize(
    ("proposal", "checker", "seen", "used", "reason"),
    [
        (PROPOSAL, Actor("li", CHECKER.permissions), PROPOSAL.sha256, False, "self_approval"),
        (PROPOSAL, Actor("wang"), PROPOSAL.sha256, False, "not_allowed"),
        (PROPOSAL, CHECKER, PROPOSAL.sha256, True, "replayed"),
        (PROPOSAL, CHECKER, "0" * 64, False, "changed"),
        (
            msgspec.structs.replace(PROPOSAL, payload={**PAYLOAD, "amount_minor": 101}),
            CHECKER,
            PROPOSAL.sha256,
            False,
            "changed",
        ),
    ],
)
def test_refused(proposal: Proposal, checker: Actor, seen: str, used: bool, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        judge(proposal, checker, seen=seen, used=used)
    assert refused.value.reason == reason


def test_the_hash_does_not_hang_on_the_order_of_keys() -> None:
    turned = dict(reversed(PAYLOAD.items()))
    assert content_hash("a", "b", turned) == content_hash("a", "b", PAYLOAD)
