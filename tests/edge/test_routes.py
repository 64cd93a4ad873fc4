"""Which route a path is for, what events call it, and templates that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from quotaloop.edge.routes import UNMATCHED, Route, Routes
from quotaloop.edge.versions import Version, Versions

V1 = Version("v1", ("1.0",))
VERSIONS = Versions([V1, Version("v2", ("2.1",)), Version("beta")], default="v1", latest="v2")
CHAT, ITEM, HEALTH = Route("/api/{version}/chat"), Route("/api/{version}/items/{item}"), Route("/api/v1/health")
ACTION, CALL = Route("/api/models/{model}:predict"), Route("/quotaloop.{version}.Chat/Say")
ROUTES = Routes([CHAT, ITEM, HEALTH, ACTION, CALL], VERSIONS)


def found(path: str, routes: Routes = ROUTES) -> tuple[str, str | None]:
    """The template, and the word for a version."""
    matched = routes.match(path)
    return matched.route.path, matched.version_word


@pytest.mark.parametrize(
    ("path", "template", "word"),
    [
        ("/api/v1/chat", CHAT.path, "v1"),
        ("/api/1/chat", CHAT.path, "1"),
        ("/api/V2.1/chat", CHAT.path, "V2.1"),
        ("/api/latest/chat", CHAT.path, "latest"),
        ("/api/vlatest/chat", CHAT.path, "vlatest"),
        ("/api/v9/chat", CHAT.path, "v9"),
        ("/api/v1\r\nx: y/chat", CHAT.path, "v1\r\nx: y"),
        ("/api/\0/chat", CHAT.path, "\0"),
        ("/api/\ud800/chat", CHAT.path, "\ud800"),
        ("/api/v1/items/7", ITEM.path, "v1"),
        ("/api/v9/items/a b?c", ITEM.path, "v9"),
        ("/api/v1/health", HEALTH.path, None),
        ("/api/models/markov:predict", ACTION.path, None),
        ("/api/models/a:predict:predict", ACTION.path, None),
        ("/quotaloop.v1.Chat/Say", CALL.path, "v1"),
        ("/quotaloop.v1.x.Chat/Say", CALL.path, "v1.x"),
    ],
)
def test_a_path_is_for_the_template_that_fits_it(path: str, template: str, word: str | None) -> None:
    assert found(path) == (template, word)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/chat/",
        "/api/v1/chat/x",
        "/api//chat",
        "/api/v1/Chat",
        "/api/v1/items/",
        "/api/v1/items/7/8",
        "/api/v1%2Fchat",
        "/api/v1/chat\n",
        "/api/models/:predict",
        "/api/v2/health",
        "/API/v1/chat",
        "api/v1/chat",
        "/",
        "",
        "/../api/v1/chat",
        "/api/{version}",
        "/*",
    ],
)
def test_what_fits_no_template_has_a_route_of_its_own(path: str) -> None:
    assert found(path) == (UNMATCHED, None)
    matched = ROUTES.match(path).route
    assert (matched.metered, matched.public, matched.reads_body) == (True, False, False)


def test_the_first_template_that_fits_counts_but_one_without_parameters_comes_before() -> None:
    anything, chat = Route("/api/{name}/chat"), Route("/api/{version}/chat")
    assert found("/api/v1/chat", Routes([anything, chat], VERSIONS)) == (anything.path, None)
    assert found("/api/v1/chat", Routes([chat, anything], VERSIONS)) == (chat.path, "v1")
    exact = Route("/api/v1/chat")
    assert found("/api/v1/chat", Routes([anything, chat, exact], VERSIONS)) == (exact.path, None)
    assert found("/api/v2/chat", Routes([anything, chat, exact], VERSIONS)) == (anything.path, None)
    first, second = Route("/a", operation="first"), Route("/a", operation="second")
    assert Routes([first, second], VERSIONS).match("/a").route is first


def test_a_known_version_is_found_as_an_unknown_one_is() -> None:
    both = Versions([Version("beta"), Version("vbeta")], default="beta", latest="beta")
    routes = Routes([CHAT], both)
    assert [found(f"/api/{word}/chat", routes)[1] for word in ("beta", "vbeta", "vlatest")] == [
        "beta",
        "vbeta",
        "vlatest",
    ]


def test_a_path_is_found_again_as_it_was_before() -> None:
    assert ROUTES.match("/api/v9/items/again") is ROUTES.match("/api/v9/items/again")
    assert found("/api/v9/items/again") == (ITEM.path, "v9")


def test_long_paths_are_matched_and_not_remembered() -> None:
    routes = Routes([CHAT, ITEM], VERSIONS)
    long = "/api/v9/items/" + "x" * 60_000
    assert found(long, routes) == (ITEM.path, "v9")
    assert routes.match(long) is not routes.match(long)
    assert found("/api/" + "v" * 60_000 + "/chat", routes) == (CHAT.path, "v" * 60_000)


def test_paths_made_to_be_slow_are_matched_in_steps_that_grow_with_their_length() -> None:
    for path in ("/api/models/" + ":predict" * 8_000 + "x", "/quotaloop." + ".Chat" * 12_000, "/" * 60_000):
        assert found(path) == (UNMATCHED, None)


def test_events_name_the_route_by_its_template_with_the_version_that_serves() -> None:
    assert CHAT.name(V1) == "/api/v1/chat"
    assert CHAT.name(None) == "/api/{version}/chat"
    assert ITEM.name(V1) == "/api/v1/items/{item}"
    assert HEALTH.name(V1) == "/api/v1/health"
    short = Route("/api/chat", versioned="/api/{version}/chat")
    assert (short.name(V1), short.name(None)) == ("/api/v1/chat", "/api/{version}/chat")


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("api/chat", {}, "it begins with /"),
        ("", {}, "it begins with /"),
        ("/api chat", {}, "none of them blank"),
        ("/api\r\nchat", {}, "none of them blank"),
        ("/api\u200bchat", {}, "none of them blank"),
        ("/" + "x" * 256, {}, "at most 256"),
        ("/{version}/" + "x" * 223, {}, "at most 256"),  # a version may have 32 characters
        ("/{a}/{a}", {}, "each of another name"),
        ("/{a}{b}", {}, "a segment has one parameter"),
        ("/{a}:{b}", {}, "a segment has one parameter"),
        ("/files/{path:path}", {}, "a parameter is {name}"),
        ("/{item-id}", {}, "a parameter is {name}"),
        ("/{}", {}, "a parameter is {name}"),
        ("/a}", {}, "a parameter is {name}"),
        ("/chat", {"versioned": "/api/chat"}, "holds {version} and no other parameter"),
        ("/chat", {"versioned": ""}, "begins with /"),
        ("/chat", {"versioned": "{version}/chat"}, "it begins with /"),
        ("/items/{item}", {"versioned": "/{version}/items/{item}"}, "no other parameter"),
    ],
)
def test_a_template_that_cannot_be_matched_or_named_is_refused(path: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Route(path, **fields)


def test_a_template_just_as_long_as_an_event_may_hold_is_taken() -> None:
    assert Route("/{version}/" + "x" * 222).path.endswith("x")  # 1 + 32 + 1 + 222
    assert Route("/" + "x" * 255).path.endswith("x")
