"""Risk rules in a request's way: what is judged at once, and the judge over counters.

Pure, as `follow_up` is: a judge gets the counters under lock, and what would follow if no rule
objected (`go`). Only a request that then goes forward moves counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from switch import risk
from switch.advice import TAKEN, held
from switch.journal import Commit, Judgement, OutcomeRow, OutcomeState
from switch.risk_rules import Asked

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from switch.intake import Ask
    from switch.journal import RequestRow, Scene
    from switch.reference import Route, Snapshot
    from switch.risk import Assessment, Fired
    from terminals.registry import Merchant

    Go = Callable[[RequestRow, Scene], Judgement]


def assess(
    asked: Ask,
    request: RequestRow,
    merchant: Merchant,
    route: Route | None,
    local: dt.datetime,
    snapshot: Snapshot,
) -> Assessment | None:
    """What the rules in force say at once; None where none has anything to say."""
    rules = snapshot.risk.of_type(asked.type.name)
    if not rules:
        return None
    key, token = request.key, request.pan_token
    found = risk.assess(
        rules,
        Asked(
            type=asked.type.name,
            mcc=merchant.mcc,
            entry_mode=request.entry_mode,
            currency=request.currency,
            amount_minor=request.amount_minor,
            minute=local.hour * 60 + local.minute,
            at_s=int(request.received_at.timestamp()),
            timezone=str(local.tzinfo),
            card_type="" if route is None else route.card_type,
            foreign=route is not None and route.foreign,
            card="" if token is None else token.hex(),
            merchant=key.merchant,
            terminal=f"{key.merchant}/{key.terminal}",
            agent=merchant.agent,
        ),
        advice=asked.type.advice,
    )
    return None if found.plain else found


def asked_first(
    asked: Ask,
    request: RequestRow,
    merchant: Merchant,
    route: Route | None,
    local: dt.datetime,
    snapshot: Snapshot,
) -> tuple[Assessment | None, Fired | None]:
    """What the rules say at once, and which of them ends the matter before any counter is read."""
    if not snapshot.risk.rules:  # no rule, no cost
        return None, None
    assessment = assess(asked, request, merchant, route, local, snapshot)
    return assessment, at_once(assessment, route)


def at_once(assessment: Assessment | None, route: Route | None) -> Fired | None:
    """What declines before any counter is read, if that can be written without an alert."""
    if assessment is None or not (assessment.silent or route is None):
        return None
    return assessment.declined


def refusal(request: RequestRow, declined: Fired) -> OutcomeRow:
    return OutcomeRow(
        request_id=request.request_id,
        state=OutcomeState.REFUSED,
        response_code=declined.of.response_code,
        decided_at=request.received_at,
        rule=declined.of.told,
    )


def judge(request: RequestRow, assessment: Assessment, go: Go) -> Callable[[Scene], Judgement]:
    """The judge over the counters that `assessment` asks for."""

    def judged(scene: Scene) -> Judgement:
        verdict = risk.weigh(assessment, scene.counted, request.request_id)
        told = risk.decision(request, assessment.asking, verdict.fired)
        row = msgspec.structs.replace(request, decision=told)
        if verdict.declined is not None:
            alerts = risk.alerts_of(verdict, row, assessment.asked)
            if assessment.advice:  # it has happened already: never declined (rules §11)
                rule = verdict.declined.of.told
                kept = msgspec.structs.replace(held(row, rule), alerts=alerts)
                return Judgement(commit=kept, response_code=TAKEN, rule=f"held.{rule}")
            row = msgspec.structs.replace(row, any_batch=True)
            outcome = refusal(row, verdict.declined)
            return Judgement(
                commit=Commit(request=row, outcome=outcome, alerts=alerts),
                response_code=outcome.response_code,
                rule=outcome.rule,
            )
        judgement = go(row, scene)
        commit = judgement.commit
        if commit is None or commit.attempt is None:
            return judgement  # refused or held for another reason
        case = risk.case_of(verdict, row)
        crowded = case is not None and commit.case is not None  # a commit has one case
        commit = msgspec.structs.replace(
            commit,
            case=case if commit.case is None else commit.case,
            moves=verdict.moves,
            alerts=risk.alerts_of(verdict, row, assessment.asked, reviews=crowded),
        )
        return msgspec.structs.replace(judgement, commit=commit)

    return judged
