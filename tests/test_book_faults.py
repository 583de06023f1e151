"""Faults planted in switch, issuer and terminal fail the stories of their rules, and none of an unrelated chapter.

Of the unrelated chapters each fault plays a share here, another one each, so that together they play the whole book;
`python tests/planted.py` plays all of it against each.
"""

import pytest
from planted import PLANTED, Planted

from scenarios.story.junit import said
from scenarios.story.reading import found_stories, read_story
from scenarios.story.requirements import BOOK, read_requirements
from scenarios.story.result import Verdict
from scenarios.story.run import play

STORIES = [read_story(path) for path in found_stories([BOOK])]


def test_faults_are_of_many_kinds() -> None:
    book = read_requirements()
    assert len(PLANTED) >= 12
    assert len({rule for one in PLANTED for rule in one.rules}) >= 12
    for one in PLANTED:
        assert {book.rules[rule].chapter for rule in one.rules} <= {*one.chapters}
        assert {*one.chapters} < {*book.chapters}


@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[one.fault.name for one in PLANTED])
def test_a_planted_fault_fails_its_stories_and_no_others(place: int) -> None:
    one: Planted = PLANTED[place]
    with one.fault.alive():
        noticed = {story.id: play(story) for story in STORIES if story.rules[0] in one.rules}
        others = [story for story in STORIES if story.chapter not in one.chapters]
        quiet = [play(story) for story in others[place % len(PLANTED) :: len(PLANTED)]]
    assert noticed
    assert [story.id for story in noticed.values() if story.verdict is not Verdict.FAILED] == []
    assert all(story.findings for story in noticed.values())
    assert [(story.id, *map(said, story.findings)) for story in quiet if story.verdict is not Verdict.PASSED] == []
