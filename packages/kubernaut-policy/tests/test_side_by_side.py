"""Several evaluators in one process: other packages, other engines, and no harm to one another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engines_here import engine_here

from kubernaut_policy import Failure, Policy, PolicyEvaluator, PolicyTimeoutError, Undefined, Value

PRICE = """package shop

price := 3 if input.item == "pen"

endless := count(products) if input.endless

products contains 1 if {
	input.endless
	some a in numbers.range(1, 30000)
	some b in numbers.range(1, 30000)
	a * b < 0
}
"""
APPROVAL = """package aianalysis.approval

default require_approval := false

require_approval if input.confidence < 0.8

reason := sprintf("confidence %v", [input.confidence]) if require_approval

checked := to_number(input.text) if input.text
"""
WHOLE = {"approval": "data.aianalysis.approval"}


async def test_what_happens_to_one_evaluator_is_nothing_to_another() -> None:
    async with (
        PolicyEvaluator(Policy(PRICE), engine=engine_here("regorus")) as shop,
        PolicyEvaluator(Policy(APPROVAL), engine="regopy") as approval,
    ):
        lost = asyncio.create_task(shop.evaluate({"x": "data.shop.endless"}, {"endless": True}, deadline=0.3))
        answered = await approval.evaluate(WHOLE, {"confidence": 0.5})
        assert answered["approval"] == Value({"require_approval": True, "reason": "confidence 0.5"})
        with pytest.raises(PolicyTimeoutError):
            await lost
        assert (await shop.evaluate({"price": "data.shop.price"}, {"item": "pen"}))["price"] == Value(3)
        await shop.replace(PRICE.replace("3 if", "4 if"))
        assert (await approval.evaluate(WHOLE, {"confidence": 0.9}))["approval"] == Value({"require_approval": False})


@pytest.mark.parametrize(
    ("engine", "document", "answer"),
    [
        ("regopy", {"confidence": 0.9, "text": "1"}, {"require_approval": False, "checked": 1}),
        ("regorus", {"confidence": 0.9, "text": "1"}, {"require_approval": False, "checked": 1}),
        ("regopy", {"confidence": 0.9, "text": "no"}, {"require_approval": False}),
        ("regorus", {"confidence": 0.9, "text": "no"}, None),
    ],
)
async def test_a_package_that_is_asked_as_a_whole_fails_with_any_of_its_rules(
    engine: str, document: Any, answer: Any
) -> None:
    async with PolicyEvaluator(Policy(APPROVAL), engine=engine_here(engine), spares=0) as evaluator:
        got = (await evaluator.evaluate(WHOLE, document))["approval"]
    assert isinstance(got, Failure) if answer is None else got == Value(answer)


@pytest.mark.parametrize("engine", ["regopy", "regorus"])
async def test_a_package_that_the_policy_does_not_have_is_undefined(engine: str) -> None:
    async with PolicyEvaluator(Policy(PRICE), engine=engine_here(engine), spares=0) as evaluator:
        assert (await evaluator.evaluate(WHOLE, {}))["approval"] == Undefined()
