"""Files of settings that other accounts may use: each is named with the command that closes it."""

import os

import pytest

from keyledger.settings.file_modes import exposed_files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs modes of files")

MODES = [
    pytest.param(0o600, None, id="for its owner"),
    pytest.param(0o400, None, id="for reading by its owner"),
    pytest.param(0o640, "can be read by its group (0640)", id="for its group"),
    pytest.param(0o644, "can be read by every account (0644)", id="for every account"),
    pytest.param(0o604, "can be read by every account (0604)", id="for every account but its group"),
    pytest.param(0o660, "can be written by other accounts (0660)", id="for writing by its group"),
    pytest.param(0o666, "can be written by other accounts (0666)", id="for writing by every account"),
    pytest.param(0o602, "can be written by other accounts (0602)", id="for writing alone"),
]


@pytest.mark.parametrize(("mode", "said"), MODES)
def test_a_file_with_secrets_that_others_may_use_is_named(tmp_path, mode, said):
    dotenv, key = tmp_path / ".env", tmp_path / "key"
    for file in (dotenv, key):
        file.write_text("LOG_LEVEL=info\n")
        file.chmod(mode)
    found = list(exposed_files({"SUPER_API_KEY_FILE": str(key)}, dotenv))
    assert [one.said for one in found] == ([f"{dotenv} {said}", f"{key} (SUPER_API_KEY_FILE) {said}"] if said else [])
    assert [one.remedy for one in found] == ([f"chmod 600 {dotenv}", f"chmod 600 {key}"] if said else [])


@pytest.mark.parametrize(("mode", "said"), [(0o644, []), (0o664, ["can be written by other accounts (0664)"])])
def test_a_file_of_providers_may_be_read_but_not_written(tmp_path, mode, said):
    file = tmp_path / "providers.yml"
    file.write_text("providers: []\n")
    file.chmod(mode)
    found = exposed_files({"PROVIDERS_FILE": str(file)}, tmp_path / ".env")
    assert [one.said for one in found] == [f"{file} (PROVIDERS_FILE) {one}" for one in said]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_belongs_to_another_account_is_named(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("LOG_LEVEL=info\n")
    dotenv.chmod(0o600)
    os.chown(dotenv, 65534, 65534)
    (found,) = exposed_files({}, dotenv)
    assert found.said == f"{dotenv} belongs to another account (user id 65534), which can change it"
    assert found.remedy == f"chown 0 {dotenv}"


def test_files_that_do_not_exist_are_left_out(tmp_path):
    assert list(exposed_files({"SUPER_API_KEY_FILE": str(tmp_path / "none")}, tmp_path / ".env")) == []
