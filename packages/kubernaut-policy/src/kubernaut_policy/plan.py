"""Checks of a compiled policy that OPA's compiler makes and regopy's leaves out.

regopy compiles to OPA's intermediate representation (a plan: functions, blocks, statements over numbered locals), and
evaluates what is wrong in it as "undefined" or fails only for the inputs that come by. So a typing error would be taken
as a new policy and classify every object by its defaults. The plan of the whole module is looked at once, at load:

* a call of a function that nobody defines, or with the wrong number of arguments;
* a rule that calls itself, over however many others;
* a variable that is used and never given a value (OPA: `rego_unsafe_var_error`).

A policy that is right must never be refused: what the plan does not show for certain passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kubernaut_policy.errors import Problem

__all__ = ["builtins_used", "check"]

_WRITES = ("target", "result")


def check(plan: dict[str, Any], is_builtin: Callable[[str], bool]) -> list[Problem]:
    """What is wrong with a plan (a decoded `plan.json`); empty = nothing."""
    functions = {function["name"]: function for function in plan["funcs"]["funcs"]}
    declared = {builtin["name"]: builtin["decl"] for builtin in plan["static"].get("builtin_funcs", [])}
    problems: list[Problem] = []
    for name, function in functions.items():
        if "querymodule" in name:
            continue
        statements = list(_statements(function["blocks"]))
        line = next((stmt["row"] + 1 for _, stmt in statements if "row" in stmt), 0)
        for kind, stmt in statements:
            if kind == "CallStmt":
                problems += _call(stmt, functions, declared, is_builtin, line)
        if _uses_what_nothing_gives(function, statements):
            problems.append(Problem("this rule uses a variable that nothing gives a value; is a name misspelt?", line))
    return [*problems, *_recursion(functions)]


def builtins_used(plan: dict[str, Any]) -> set[str]:
    """Names of the built-in functions that the plan calls."""
    return {builtin["name"] for builtin in plan["static"].get("builtin_funcs", [])}


def _statements(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in blocks:
        for item in block["stmts"]:
            stmt = item["stmt"]
            yield item["type"], stmt
            inner = [*stmt.get("blocks", []), *([stmt["block"]] if isinstance(stmt.get("block"), dict) else [])]
            yield from _statements(inner)


def _call(
    stmt: dict[str, Any],
    functions: dict[str, Any],
    declared: dict[str, Any],
    is_builtin: Callable[[str], bool],
    line: int,
) -> Iterator[Problem]:
    name, given = stmt["func"], len(stmt["args"])
    line = stmt["row"] + 1 if "row" in stmt else line
    if name in functions:
        wanted, hidden = len(functions[name]["params"]), 2  # input and data go before the arguments
        name = name.rpartition(".")[2]
    elif name in declared and "variadic" not in declared[name]:
        wanted, hidden = len(declared[name].get("args", [])), 0
    elif name in declared or is_builtin(name):
        return
    else:
        yield Problem(f"there is no function {name}; is it misspelt, or unknown to this engine?", line)
        return
    if wanted != given:
        yield Problem(f"{name} takes {wanted - hidden} argument(s), and gets {given - hidden}", line)


def _uses_what_nothing_gives(function: dict[str, Any], statements: list[tuple[str, dict[str, Any]]]) -> bool:
    given, used = set(function["params"]), set()
    for kind, stmt in statements:
        given.update(stmt[field] for field in _WRITES if isinstance(stmt.get(field), int))
        if kind == "ScanStmt":
            given.update((stmt["key"], stmt["value"]))
        if kind == "WithStmt":
            given.add(stmt["local"])
        for operand in [*stmt.values(), *stmt.get("args", [])]:
            if isinstance(operand, dict) and operand.get("type") == "local":
                used.add(operand["value"])
    return bool(used - given)


def _recursion(functions: dict[str, Any]) -> list[Problem]:
    calls = {
        name: {stmt["func"] for kind, stmt in _statements(function["blocks"]) if kind == "CallStmt"} & functions.keys()
        for name, function in functions.items()
    }
    for start in calls:
        if "querymodule" in start:
            continue
        reached, ahead = set(), set(calls[start])
        while ahead:
            reached |= ahead
            ahead = set().union(*(calls[name] for name in ahead)) - reached
        if start in reached:
            line = next((s["row"] + 1 for _, s in _statements(functions[start]["blocks"]) if "row" in s), 0)
            name = start.partition(".")[2]
            return [Problem(f"{name} is defined by itself (recursion); a rule may not depend on its own value", line)]
    return []
