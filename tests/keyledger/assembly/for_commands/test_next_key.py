"""The next encryption key comes into the settings of a node, and takes the place of the former."""

from pathlib import Path

import pytest

from keyledger.assembly.configuration import keyring_of
from keyledger.assembly.for_commands.next_key import add_next, adopt_next
from keyledger.settings.settings import load
from keyledger.start_error import StartError
from tests.support.rings import BOTH, NEW, OLD
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY

OLD_KEY, NEW_KEY = ENCRYPTION_KEY.reveal(), OTHER_ENCRYPTION_KEY.reveal()
BY_VALUE = f"# keys\nTENANT_CREDENTIALS_ENABLED=true\nENCRYPTION_KEY={OLD_KEY}\nSUPER_API_KEY=a-key-0123456789\n"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    file = tmp_path / "new key"
    file.write_text(f"{NEW_KEY}\n")
    return file


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    file = tmp_path / ".env"
    file.write_text(BY_VALUE)
    return file


def by_file(folder: Path) -> Path:
    (folder / "old-key").write_text(OLD_KEY)
    (folder / "new-key").write_text(NEW_KEY)
    dotenv = folder / ".env"
    dotenv.write_text(f"TENANT_CREDENTIALS_ENABLED=true\nENCRYPTION_KEY_FILE={folder / 'old-key'}\n")
    return dotenv


def test_a_key_that_is_a_value_stays_one(dotenv: Path, new: Path) -> None:
    assert add_next({}, dotenv, new) == NEW.primary_id
    assert dotenv.read_text() == f"{BY_VALUE}ENCRYPTION_KEY_NEXT={NEW_KEY}\n"
    assert adopt_next({}, dotenv, {OLD.primary_id}) == NEW.primary_id
    assert dotenv.read_text() == BY_VALUE.replace(OLD_KEY, NEW_KEY)


def test_a_key_that_is_in_a_file_stays_in_one(tmp_path: Path) -> None:
    dotenv = by_file(tmp_path)
    assert add_next({}, dotenv, tmp_path / "new-key") == NEW.primary_id
    assert adopt_next({}, dotenv, {OLD.primary_id}) == NEW.primary_id
    assert NEW_KEY not in dotenv.read_text()
    settings = load({}, dotenv)
    assert (settings.encryption_key, settings.next_encryption_key) == (OTHER_ENCRYPTION_KEY, None)
    assert (tmp_path / "old-key").read_text() == OLD_KEY, "its destruction is for its owner"


def test_adding_the_same_key_again_changes_nothing(dotenv: Path, new: Path) -> None:
    add_next({}, dotenv, new)
    before = dotenv.read_text()
    assert add_next({}, dotenv, new) == NEW.primary_id
    assert dotenv.read_text() == before


def test_a_former_key_that_is_not_retired_stays(dotenv: Path, new: Path) -> None:
    add_next({}, dotenv, new)
    before = dotenv.read_text()
    with pytest.raises(StartError, match=OLD.primary_id):
        adopt_next({}, dotenv, set())
    assert dotenv.read_text() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("not a key", "does not contain an encryption key", id="no key"),
        pytest.param(OLD_KEY, "is configured already", id="the present key"),
    ],
)
def test_a_file_without_a_new_key_is_refused_without_its_content(
    dotenv: Path, new: Path, content: str, said: str
) -> None:
    new.write_text(content)
    with pytest.raises(StartError, match=said) as refused:
        add_next({}, dotenv, new)
    assert content not in str(refused.value)
    assert dotenv.read_text() == BY_VALUE


def test_settings_from_the_environment_are_changed_there(dotenv: Path, new: Path) -> None:
    environ = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": OLD_KEY}
    with pytest.raises(StartError, match="comes from the environment"):
        add_next(environ, dotenv, new)
    assert dotenv.read_text() == BY_VALUE


def test_nothing_is_adopted_without_a_next_key(dotenv: Path) -> None:
    with pytest.raises(StartError, match="add-next"):
        adopt_next({}, dotenv, set())


def test_the_next_key_opens_everywhere_and_seals_not_yet(dotenv: Path, new: Path) -> None:
    add_next({}, dotenv, new)
    ring = keyring_of(load({}, dotenv))
    assert ring is not None
    assert (ring.primary_id, ring.key_ids) == (OLD.primary_id, BOTH.key_ids)
