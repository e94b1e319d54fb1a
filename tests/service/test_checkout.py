"""A checkout is exactly the revision that was pushed."""

import os
from pathlib import Path

import pytest
from checkoutfixture import CheckoutFixture
from tinyci.stage import checkout
from tinyci.stage.status import StageError


@pytest.fixture
def place(tmp_path: Path) -> CheckoutFixture:
    return CheckoutFixture(tmp_path)


# -- the revision ------------------------------------------------------------------------------------------------


def test_a_checkout_is_the_revision_that_was_pushed(place: CheckoutFixture) -> None:
    revision = place.push(a="1", sub__b="2")
    place.checkout(revision)
    assert place.files() == {"a": "1", "sub/b": "2"}
    assert place.git("rev-parse", "HEAD").strip() == revision
    assert place.git("status", "--porcelain") == ""


def test_the_short_revision_is_as_a_script_expects_it(place: CheckoutFixture) -> None:
    revision = place.push(a="1")
    place.checkout(revision)
    short = place.git("rev-parse", "--short", "HEAD").strip()
    assert len(short) >= 7
    assert revision.startswith(short)


def test_the_next_revision_takes_the_place_of_the_one_before(place: CheckoutFixture) -> None:
    place.checkout(place.push(a="1", old="x", sub__c="3"))
    revision = place.push(a="2", new="y", sub="now a file")
    place.checkout(revision)
    assert place.files() == {"a": "2", "new": "y", "sub": "now a file"}
    assert place.git("rev-parse", "HEAD").strip() == revision
    assert place.git("status", "--porcelain") == ""


def test_an_older_revision_can_be_checked_out_again(place: CheckoutFixture) -> None:
    first, second = place.push(a="1"), place.push(a="2", b="3")
    place.checkout(second)
    place.checkout(first)
    assert place.files() == {"a": "1"}


def test_the_same_revision_can_be_checked_out_again(place: CheckoutFixture) -> None:
    revision = place.push(a="1")
    place.checkout(revision)
    place.checkout(revision)
    assert place.files() == {"a": "1"}


def test_modes_and_links_are_those_of_the_revision(place: CheckoutFixture) -> None:
    place.clone.write("ci-build.sh", "#!/bin/sh\n", mode=0o755)
    place.clone.write("plain", "")
    (place.clone.tree / "link").symlink_to("plain")
    revision = place.clone.commit()
    place.clone.push()
    tree = place.checkout(revision)
    (tree / "ci-build.sh").chmod(0o644)
    (tree / "plain").chmod(0o755)
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")
    place.checkout(revision)
    assert os.access(tree / "ci-build.sh", os.X_OK)
    assert not (tree / "plain").stat().st_mode & 0o111
    assert os.readlink(tree / "link") == "plain"


def test_a_revision_of_longer_hashes_can_be_checked_out(tmp_path: Path) -> None:
    place = CheckoutFixture(tmp_path, objects="sha256")
    revision = place.push(a="1")
    place.checkout(revision)
    assert len(revision) == 64
    assert place.files() == {"a": "1"}
    assert place.git("rev-parse", "HEAD").strip() == revision


def test_a_repository_that_was_made_anew_with_longer_hashes_can_be_checked_out(
    place: CheckoutFixture, tmp_path: Path
) -> None:
    place.checkout(place.push(a="1"))
    (tmp_path / "new").mkdir()
    new = CheckoutFixture(tmp_path / "new", objects="sha256")
    new.workspace, new.tree = place.workspace, place.tree
    new.checkout(new.push(a="2"))
    assert place.files() == {"a": "2"}


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_can_be_checked_out(place: CheckoutFixture, annotated: bool) -> None:
    commit = place.push(a="1")
    place.push(a="2")
    place.clone.git("tag", *(["-a", "-m", "Release"] if annotated else []), "v1", commit)
    place.clone.push("v1")
    place.checkout(place.clone.git("rev-parse", "v1").strip())  # what the hook gets
    assert place.files() == {"a": "1"}
    assert place.git("rev-parse", "HEAD").strip() == commit


def test_the_tip_of_a_ref_is_what_it_is_at_now(place: CheckoutFixture) -> None:
    place.push(a="1")
    newest = place.push(a="2")
    assert checkout.tip(str(place.clone.bare), "refs/heads/main") == newest


def test_a_ref_that_is_not_there_has_no_tip(place: CheckoutFixture) -> None:
    place.push(a="1")
    place.clone.push("main:next/below")
    with pytest.raises(StageError, match=r"there is no refs/heads/next in .*: push it, or name another ref") as caught:
        checkout.tip(str(place.clone.bare), "refs/heads/next")
    assert caught.value.verdict == "rejected"


def test_objects_are_borrowed_not_copied(place: CheckoutFixture) -> None:
    place.clone.write("large", os.urandom(3_000_000))
    first = place.clone.commit()
    place.clone.push()
    for revision in (first, place.push(a="1"), first):
        place.checkout(revision)
        objects = [path for path in (place.tree / ".git" / "objects").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in objects) < 1000
