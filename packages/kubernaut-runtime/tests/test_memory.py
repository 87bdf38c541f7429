"""One memory per object, and news that are told once."""

from __future__ import annotations

from dataclasses import dataclass, field

from kubernaut_runtime import Memories, News
from kubernaut_status import ObjectKey


@dataclass(frozen=True)
class Metadata:
    uid: str
    name: str = "web"
    namespace: str = "shop"


@dataclass
class Told:
    uids: list[str] = field(default_factory=list)


def test_an_object_is_remembered_from_pass_to_pass() -> None:
    memories = Memories(list, lambda uid: None)
    memories.of(Metadata("1")).append("first")
    assert memories.of(Metadata("1")) == ["first"]
    assert memories.of(Metadata("2", name="db")) == []


def test_a_name_that_was_created_again_starts_anew_and_the_former_is_forgotten() -> None:
    told = Told()
    memories = Memories(list, told.uids.append)
    memories.of(Metadata("1")).append("first")
    assert memories.of(Metadata("2")) == []
    assert told.uids == ["1"]


def test_what_is_gone_is_forgotten_and_told_once() -> None:
    told = Told()
    memories = Memories(list, told.uids.append)
    memories.of(Metadata("1"))
    for _ in range(2):
        memories.forget(ObjectKey("shop", "web"))
    assert told.uids == ["1"]


def test_news_are_told_once_when_their_write_is_stored() -> None:
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: True, told.append)
    news.tell("stored")
    news.tell("again")
    news.look("later")
    assert told == ["stored"]


def test_news_of_a_write_that_raised_are_told_by_the_pass_that_finds_it() -> None:
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: obj == "written", told.append)
    news.look("as before")
    assert told == []
    news.look("written")
    news.look("written")
    assert told == ["written"]


def test_nothing_is_told_of_a_write_that_was_not_made() -> None:
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: True, told.append)
    news.drop()
    news.look("anything")
    news.tell("anything")
    assert told == []


def test_of_two_writes_that_may_have_landed_one_is_told() -> None:
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: True, lambda obj: told.append("first"))
    news.await_write(lambda obj: True, lambda obj: told.append("second"))
    news.look("anything")
    news.look("anything")
    assert told == ["second"]


def test_the_write_before_is_told_when_it_made_the_next_one_needless() -> None:
    """Its answer was lost, and the pass that made it again did not see it yet."""
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: obj == "written", lambda obj: told.append("first"))
    news.look("as before")
    news.await_write(lambda obj: True, lambda obj: told.append("second"))
    news.not_needed("written")
    news.look("written")
    assert told == ["first"]


def test_nothing_is_told_of_a_needless_write_itself() -> None:
    told: list[str] = []
    news = News[str]()
    news.await_write(lambda obj: True, told.append)
    news.not_needed("by somebody else")
    news.tell("anything")
    assert told == []
