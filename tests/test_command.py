"""The command `shoudan`: which rooms it looks at before it does what it is told."""

import sys
from typing import Any

import pytest

from switch.app import cli


@pytest.mark.parametrize(("arguments", "looks"), [(["serve"], False), (["centre"], False), (["no-such-thing"], True)])
def test_a_command_of_the_switch_does_not_wait_for_other_rooms(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], looks: bool
) -> None:
    asked: list[str] = []

    def entry_points(group: str) -> list[Any]:
        asked.append(group)
        return []

    monkeypatch.setattr(cli, "entry_points", entry_points)
    monkeypatch.setattr(sys, "argv", ["shoudan", *arguments, "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code == 0) is not looks
    assert asked == (["shoudan.commands"] if looks else [])
