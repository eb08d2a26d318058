"""The runner of `make prove`: its lines, its exit codes, and that no part can hide what it found."""

import io
import random
from pathlib import Path

import pytest

from tests.prove.__main__ import chosen
from tests.prove.part import Counts, Part, Scale, nothing
from tests.prove.parts import PARTS
from tests.prove.runner import INTERRUPTED, Runner


def part(name, run, needs=nothing, **more):
    return Part(name, 1, "Says what it shows.", needs, run, **{"quick": False, **more})


def fine(scale, rng, folder):
    return Counts(acknowledged=3, lost=0)


def lossy(scale, rng, folder):
    (folder / "ledger").write_text("kept")
    counts = Counts(acknowledged=3, lost=1)
    counts.faults.append("lost: set tenant-1/openai")
    return counts


def broken(scale, rng, folder):
    raise ValueError("no etcd today")


def ran(*parts, seed=7):
    out = io.StringIO()
    code = Runner(Scale.QUICK, seed, out).run(parts)
    return code, out.getvalue().splitlines()


def test_a_part_has_one_line_with_its_counts_and_the_seed_is_printed():
    code, lines = ran(part("calm", fine))
    assert code == 0
    assert "seed 7" in lines[0]
    assert lines[1].split()[:4] == ["calm", "ok", "acknowledged=3", "lost=0"]
    assert lines[2].startswith("1 of 1 parts run, nothing found;")


@pytest.mark.parametrize(("run", "said"), [(lossy, "lost: set tenant-1/openai"), (broken, "ValueError: no etcd today")])
def test_a_part_that_finds_something_fails_the_run_and_the_others_still_run(run, said):
    code, lines = ran(part("bad", run), part("calm", fine))
    assert code == 1
    assert any(said in line for line in lines)
    assert any(line.startswith("calm ") for line in lines)
    folder = Path(next(line for line in lines if "its files are in" in line).split()[4].rstrip(";"))
    assert any(folder.iterdir())
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_the_folder_of_a_part_that_found_nothing_is_removed():
    folders = []

    def note(scale, rng, folder):
        folders.append(folder)
        return Counts()

    ran(part("calm", note))
    assert [folder.exists() for folder in folders] == [False]


def test_a_part_that_lacks_something_is_named_with_the_reason():
    code, lines = ran(part("poolers", lossy, needs=lambda: "HAProxy is not installed"))
    assert code == 0
    assert lines[1].split(maxsplit=1) == ["poolers", "not run: HAProxy is not installed"]
    assert lines[2].startswith("0 of 1 parts run, 1 not run")


@pytest.mark.parametrize("signalled", [KeyboardInterrupt, SystemExit(0)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interruption_ends_the_run_and_says_what_was_done(signalled):
    def interrupted(scale, rng, folder):
        raise signalled

    code, lines = ran(part("calm", fine), part("slow", interrupted), part("never", lossy))
    assert code == INTERRUPTED
    assert lines[2].split() == ["slow", "interrupted"]
    assert lines[3].startswith("1 of 3 parts run, interrupted, nothing found")


def test_a_part_gets_the_same_random_numbers_alone_and_among_others():
    drawn = []

    def draw(scale, rng: random.Random, folder):
        drawn.append(rng.random())
        return Counts()

    ran(part("other", fine), part("one", draw))
    ran(part("one", draw))
    ran(part("one", draw), seed=8)
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_part_has_a_name_of_its_own_and_a_bound():
    assert len({one.name for one in PARTS}) == len(PARTS)
    assert sum(one.minutes for one in chosen(PARTS, Scale.WHOLE, [])) <= 60
    assert all(one.says and one.minutes > 0 for one in PARTS)


def test_what_was_asked_for_is_run():
    parts = [part("quick", fine, quick=True), part("whole", fine), part("hours", fine, only_long=True)]
    names = {scale: [one.name for one in chosen(parts, scale, [])] for scale in Scale}
    assert names == {
        Scale.QUICK: ["quick"],
        Scale.WHOLE: ["quick", "whole"],
        Scale.LONG: ["quick", "whole", "hours"],
    }
    assert [one.name for one in chosen(parts, Scale.QUICK, ["hours"])] == ["hours"]
