"""What a publication sends: only what differs, and tombstones for what has gone."""

from pathlib import Path

import msgspec
import pytest

from deploy.catalog.load import load_folder
from deploy.catalog.publish import changes_between
from shared.events.catalog import ModelListed
from tests.unit.catalog.conftest import Model, WriteModel


@pytest.fixture
def folder(good_model: Model, write_model: WriteModel) -> Path:
    write_model(good_model | {"slug": "acme/owl-1"}, "owl.yaml")
    return write_model(good_model)


def published(folder: Path, version: int) -> dict[str, ModelListed | None]:
    return {model.slug: model for model in load_folder(folder, version=version)}


def test_an_empty_topic_gets_every_model(folder: Path) -> None:
    changes = changes_between({}, load_folder(folder, version=5))

    assert [(model.slug, model.version) for model in changes.listed] == [
        ("acme/owl-1", 5),
        ("acme/parrot-1", 5),
    ]
    assert (changes.removed, changes.unchanged) == ((), ())


def test_publishing_the_same_folder_again_sends_nothing(folder: Path) -> None:
    changes = changes_between(published(folder, 5), load_folder(folder, version=9))

    assert (changes.listed, changes.removed) == ((), ())
    assert changes.unchanged == ("acme/owl-1", "acme/parrot-1")


def test_a_changed_model_gets_a_version_above_the_published_one(folder: Path) -> None:
    owl, parrot = load_folder(folder, version=4)
    wanted = [owl, msgspec.structs.replace(parrot, description="Says more.")]

    [later] = changes_between(published(folder, 5), wanted).listed
    [much_later] = changes_between(published(folder, 2), wanted).listed

    assert (later.slug, later.version) == ("acme/parrot-1", 6)
    assert much_later.version == 4


def test_a_model_that_left_the_folder_is_removed_even_if_its_record_cannot_be_read(
    folder: Path,
) -> None:
    before = published(folder, 5) | {"acme/gone": None}
    (folder / "owl.yaml").unlink()

    changes = changes_between(before, load_folder(folder, version=6))

    assert changes.removed == ("acme/gone", "acme/owl-1")
    assert changes.unchanged == ("acme/parrot-1",)


def test_a_record_that_cannot_be_read_is_replaced(folder: Path) -> None:
    changes = changes_between(
        published(folder, 5) | {"acme/owl-1": None}, load_folder(folder, version=5)
    )

    assert [model.slug for model in changes.listed] == ["acme/owl-1"]
