"""docs/tutorials/8-a-story.md, followed literally: what it shows is what comes out."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scenarios.world.cli import scenario

PAGE = (Path(__file__).parent.parent / "docs/tutorials/8-a-story.md").read_text(encoding="utf-8")
STORY, MENDED = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SHOWN = re.findall(r"^\$ shoudan scenario ([^\n]+)\n(.*?)(?=^\$|^```)", PAGE, re.DOTALL | re.MULTILINE)
CODES = (2, 1, 0, 1)


def lasting(line: str) -> str:
    """A line without the seconds it took."""
    return re.sub(r"\d+\.\d\d\s*$", "", line).rstrip()


def test_the_tutorial_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = CliRunner()
    assert app.invoke(scenario, ["schema", "--out", "story.schema.json"]).exit_code == 0
    right = STORY.replace("amout", "amount")
    files = (STORY, right, right[: right.index("  expect:")] + MENDED, None)
    assert len(SHOWN) == len(CODES)
    for file, (words, told), code in zip(files, SHOWN, CODES, strict=True):
        if file is not None:
            Path("silent.yaml").write_text(file, encoding="utf-8")
        got = app.invoke(scenario, shlex.split(words), env={"COLUMNS": "400"})
        assert got.exit_code == code
        assert [lasting(line) for line in got.output.splitlines()] == [lasting(line) for line in told.splitlines()]
    assert "<svg" in Path("silent.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "passes"),
    [(("what: drop", "what: delay, for: 40 s"), True), (("on: cups", "on: shop"), False)],
)
def test_its_questions_have_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], passes: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    right = STORY.replace("amout", "amount")
    told = (right[: right.index("  expect:")] + MENDED).replace(*change)
    assert change[1] in told
    Path("silent.yaml").write_text(told, encoding="utf-8")
    assert (CliRunner().invoke(scenario, ["run", "silent.yaml"]).exit_code == 0) is passes
