"""The JSON Schema of story files, made of the same declarations that read them."""

import json
from typing import Any, Final

from scenarios.story.vocabulary import STEPS, STORY

SCHEMA_ID: Final = "story.schema.json"


def schema() -> dict[str, Any]:
    """As a tree: every mapping with known keys stands once, under definitions."""
    definitions: dict[str, Any] = {}
    for keys in STEPS.verbs:
        _once(keys.schema(), definitions)
    root = {name: _shared(one, definitions) for name, one in STORY.schema().items()}
    root["title"] = "Shoudan story"
    return {
        "$schema": "http://json-schema.org/draft-07/schema#", "$id": SCHEMA_ID, **root,
        "definitions": dict(sorted(definitions.items())),
    }  # fmt: skip


def _shared(tree: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(tree, list):
        return [_shared(one, definitions) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if "title" in tree and "properties" in tree and isinstance(tree["title"], str):
        return _once(tree, definitions)
    return {key: _shared(one, definitions) for key, one in tree.items()}


def _once(tree: dict[str, Any], definitions: dict[str, Any]) -> dict[str, str]:
    """Put a mapping under definitions, and refer to it. Another one of the same name gets a number."""
    fresh = {key: _shared(one, definitions) for key, one in tree.items() if key != "description"}
    called = str(tree["title"]).replace(" ", "-")
    name, number = called, 1
    while definitions.setdefault(name, fresh) != fresh:
        number += 1
        name = f"{called}-{number}"
    return {"$ref": f"#/definitions/{name}"}


def json_schema() -> str:
    """As the text that is checked in."""
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"
