"""Story files read strictly: every fault is one line with its place and a suggestion; the schema says the same."""

import json
from pathlib import Path

import pytest

from scenarios.story import vocabulary, wanted
from scenarios.story.casting import cast, kinds
from scenarios.story.reading import found_stories, read_story
from scenarios.story.run import play_path
from scenarios.story.schema import json_schema, schema
from scenarios.story.shape import Amount, BadStory, Block, Keys, Span, compose_text

HEAD = """id: XY-001
title: {zh: 消费, en: A sale}
cast:
  t1: {terminal: shop, signed-in: true}
  c1: {card: debit-stripe}
"""


def story_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


BAD = [
    ("", 1, "the file is empty"),
    ("id: [", 1, "no YAML"),
    ("- a\n", 1, "story: a mapping is wanted here"),
    ("id: XY-001\ntitle: a\nsteps: []\n", 1, 'the key "cast" is missing (story)'),
    ("id: xy\n", 1, "an id such as NE-012 is wanted here"),
    (HEAD + "steps:\n- do: sale\n  amout: 12.00\n", 8, 'unknown key "amout", did you mean "amount"?'),
    (HEAD + "steps:\n- do: sail\n", 7, 'unknown transaction "sail", did you mean "sale"?'),
    (HEAD + "steps:\n- du: sale\n", 7, 'unknown step "du", did you mean "do"?'),
    (HEAD + "steps:\n- {do: sale, check: {}}\n", 7, "a step does one thing: do or check"),
    (HEAD + "steps:\n- sale\n", 7, "a step is a mapping"),
    (HEAD + "steps:\n- {do: sale, amount: twelve}\n", 7, "an amount in yuan such as 12.00"),
    (HEAD + "steps:\n- {do: sale, amount: 12.005}\n", 7, "an amount in yuan such as 12.00"),
    (HEAD + "steps:\n- {do: sale, amount: 1, amount: 2}\n", 7, 'the key "amount" stands there twice'),
    (HEAD + "steps:\n- pass: soon\n", 7, "a time such as 70 s"),
    (HEAD + "steps:\n- {do: sale, card: c2}\n", 7, 'nobody in the cast is called "c2", did you mean "c1"?'),
    (HEAD + "steps:\n- {do: sale-void, of: first}\n", 7, 'no step before is called "first"'),
    (HEAD + "steps:\n- do: sale\n  expect: {anser: '00'}\n", 8, 'unknown key "anser", did you mean "answer"?'),
    (HEAD + "steps:\n- do: sale\n  expect:\n    card: {tvr: {new-crad: true}}\n", 9, 'did you mean "new-card"?'),
    (HEAD + "steps:\n- do: sale\n  expect: {reply: {de: {x: '00'}}}\n", 8, "a field: 39, 55.9F36 (tag) or 60[8:11]"),
    (HEAD + "steps:\n- fault: {on: cups, what: drip}\n", 7, 'unknown fault "drip", did you mean "drop"?'),
    (HEAD + "steps:\n- fault: {what: drop}\n", 7, 'the key "on" is missing (fault)'),
    (HEAD + "steps:\n- {do: sale, go-on: maybe}\n", 7, "true or false is wanted here"),
    (HEAD + "steps:\n- {do: atm-withdrawal, takes: none}\n", 7, "a number from 0 or all is wanted here"),
    (HEAD + "date: 2026-02-30\nsteps: []\n", 6, "there is no such day"),
    (HEAD + "steps:\n- send: {fields: {3: '000000'}}\n", 7, "one of mti, like, raw is wanted"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "what"), BAD, ids=range(len(BAD)))
def test_every_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = story_file(tmp_path, text)
    with pytest.raises(BadStory) as caught:
        read_story(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("cast_", "what"),
    [
        ("t1: {terminal: shoop}", 'no kind of terminal is called "shoop", did you mean "shop"?'),
        ("c1: {card: debit-strip}", 'did you mean "debit-stripe"?'),
        ("c1: {card: lost, nth: 9999}", "there are fewer than 9999 cards of this kind"),
        ("t1: {terminal: shop, merchant: t0}", 'no terminal before is called "t0"'),
    ],
)
def test_kinds_that_nobody_has_are_refused(tmp_path: Path, cast_: str, what: str) -> None:
    story = read_story(story_file(tmp_path, f"id: XY-001\ntitle: a\ncast:\n  {cast_}\nsteps: []\n"))
    with pytest.raises(BadStory, match=r"a\.yaml:4: ") as caught:
        cast(story)
    assert what in str(caught.value)


def test_rules_are_those_of_the_book_the_story_lies_in(tmp_path: Path) -> None:
    rule = "    XY-1: {zh: 甲, en: A, source: practice}\n"
    (tmp_path / "requirements.yaml").write_text(f"entry:\n  zh: 入网\n  en: Entry\n  rules:\n{rule}")
    (tmp_path / "entry").mkdir()
    path = story_file(tmp_path / "entry", HEAD + "rules: XY-1\nsteps: []\n")
    assert read_story(path).rules == ("XY-1",)
    assert read_story(path).chapter == "entry"
    path.write_text(HEAD + "rules: [XY-1, XY-2]\nsteps: []\n")
    with pytest.raises(BadStory, match=r'a\.yaml:6: no rule is called "XY-2", did you mean "XY-1"'):
        read_story(path)
    path.write_text(HEAD + "steps:\n- {pass: 1 s, rule: XY-1}\n")
    assert read_story(path).rules == ("XY-1",)


def test_values_stay_as_they_are_written(tmp_path: Path) -> None:
    text = (
        HEAD + "steps:\n- do: sale\n  amount: 12\n  expect: {answer: 00, request: {mti: 0200, de: {4: 000000001200}}}\n"
    )
    step = read_story(story_file(tmp_path, text)).steps[0]
    assert step["amount"] == 1200
    assert step["expect"]["answer"] == "00"
    assert step["expect"]["request"][0]["mti"] == "0200"
    assert step["expect"]["request"][0]["de"]["4"] == "000000001200"
    assert (step.line, step.at("amount"), step["expect"].at("answer")) == (7, 8, 9)


def test_amounts_and_times() -> None:
    assert Amount().read(compose_text("88.5", "a"), "a") == 8850
    assert Amount(True).read(compose_text("-1.00", "a"), "a") == -100
    times = {"70 s": 70.0, "2min": 120.0, "500 ms": 0.5, "31 d": 31 * 86400.0, "1.5": 1.5}
    assert {text: Span().read(compose_text(text, "a"), "a") for text in times} == times


def test_the_schema_is_checked_in_and_refers_to_nothing_that_is_not_there() -> None:
    checked_in = Path(vocabulary.__file__).parent / "story.schema.json"
    assert checked_in.read_text(encoding="utf-8") == json_schema(), "run: shoudan scenario schema --out ..."
    text = json.dumps(schema())
    names = {part.split('"')[0] for part in text.split("#/definitions/")[1:]}
    assert names == set(schema()["definitions"]) & names
    assert {"do", "send", "expect", "books"} <= names


def test_the_schema_knows_every_key_that_is_read() -> None:
    definitions = schema()["definitions"]
    for keys in (*vars(vocabulary).values(), *vars(wanted).values()):
        if isinstance(keys, Keys) and keys.called in definitions and keys.called not in ("rule", "fault", "rules"):
            assert set(definitions[keys.called]["properties"]) == set(keys.by_name), keys.called


def test_the_cast_has_all_its_kinds() -> None:
    """Every kind of card there is can be found, and is what it says."""
    for name, kind in kinds("cards").items():
        block = Block(1)
        block.update(card=name)
        story = read_story_of(name)
        card = cast(story).holders["c1"].card
        assert kind["bank"] == "nobody" or card.status == kind.get("status", "normal")
        assert kind["chip"] == "any" or card.chip == ("" if kind["chip"] == "none" else kind["chip"])
        assert (card.expiry < "3000") == kind.get("expired", False), name


def read_story_of(kind: str):  # type: ignore[no-untyped-def]
    from scenarios.story.reading import story_of
    from scenarios.story.vocabulary import STORY

    text = f"id: XY-001\ntitle: a\ncast: {{c1: {{card: {kind}}}}}\nsteps: []\n"
    return story_of(STORY.read(compose_text(text, "a"), "a"), Path("a"))


def test_a_broken_story_is_a_result_and_not_an_end(tmp_path: Path) -> None:
    result = play_path(story_file(tmp_path, HEAD + "steps:\n- do: sail\n"))
    assert result.verdict == "broken"
    assert result.reason.endswith('a.yaml:7: unknown transaction "sail", did you mean "sale"?')


def test_directories_are_searched_in_order(tmp_path: Path) -> None:
    for name in ("b/2.yaml", "b/1.yml", "a.yaml", "requirements.yaml", "c.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert [path.name for path in found_stories([tmp_path])] == ["a.yaml", "1.yml", "2.yaml"]
    with pytest.raises(FileNotFoundError):
        found_stories([tmp_path / "nowhere"])
