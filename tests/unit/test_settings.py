"""Layered settings: order, overriding, explanation, masks, errors."""

import warnings
from pathlib import Path

import pytest

from task_server.errors import ConfigError
from task_server.settings import (
    Change,
    WorldReadableWarning,
    explain,
    load,
    locate,
    masked,
    settings_files,
)
from task_server.settings.mask import masked_repr, may_have_passwords, without_passwords


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a settings package."""
    path = tmp_path / "settings"
    path.mkdir()
    return path


@pytest.fixture
def write(folder):
    """Return a function that writes a file that only its owner can read, and returns its path."""

    def write(name: str, text: str | bytes, where: Path = folder) -> Path:
        where.mkdir(exist_ok=True)
        path = where / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def loaded(folder):
    """Return a function that loads the folder as its `__init__.py` would."""

    def loaded(environ=None):
        namespace = {"__name__": "project.settings", "__file__": str(folder / "__init__.py")}
        load(namespace, environ or {})
        return namespace

    return loaded


def test_files_run_in_alphabetical_order_in_one_namespace(write, loaded):
    """
    A later file sees and overrides the names of an earlier one.
    """
    write("11-private.py", "B = A + 1\nORDER.append(11)\nC = 'private'\n")
    write("10-public.py", "A = 1\nORDER = [10]\nC = 'public'\n")
    write("20-last.py", "ORDER.append(20)\n")

    namespace = loaded()

    assert (namespace["B"], namespace["ORDER"], namespace["C"]) == (2, [10, 11, 20], "private")


def test_only_files_with_two_digits_and_a_dash_are_read(write, folder):
    """
    Examples, modules, editors' copies and files of other names are ignored.
    """
    first = write("10-public.py", "")
    for name in ("11-private.py.example", "1-a.py", "100-a.py", "12_a.py", "urls.py", "10-a.py~"):
        write(name, "raise AssertionError")

    assert (first,) == settings_files(folder, {})


def test_each_file_sees_its_own_file_name(write, loaded, folder):
    """
    `__file__` is the file while it runs, and the settings module afterwards.
    """
    first = write("10-public.py", "FIRST = __file__\n")
    second = write("11-private.py", "SECOND = __file__\n")

    namespace = loaded()

    assert str(first) == namespace["FIRST"]
    assert str(second) == namespace["SECOND"]
    assert str(folder / "__init__.py") == namespace["__file__"]


def test_outer_files_are_merged_by_name(write, folder, tmp_path):
    """
    Files and folders elsewhere join the same order; of equal names, the outer one comes later.
    """
    public = write("10-public.py", "")
    inner = write("11-private.py", "")
    last = write("90-last.py", "")
    outer = write("11-private.py", "", tmp_path / "secrets")
    single = write("05-early.py", "", tmp_path / "elsewhere")
    environ = {"TASK_SERVER_SETTINGS_PATH": f"{outer.parent}:{single}"}

    assert (single, public, inner, outer, last) == settings_files(folder, environ)


def test_a_file_that_is_listed_twice_runs_once(write, folder):
    """
    A path that leads to the folder of the settings itself adds nothing.
    """
    public = write("10-public.py", "")
    environ = {"TASK_SERVER_SETTINGS_PATH": f"{folder}:{public}"}

    assert (public,) == settings_files(folder, environ)


def test_every_wrong_outer_path_is_named(write, folder, tmp_path):
    """
    Paths that do not exist or are not named as settings are reported at once.
    """
    wrong = write("private.py", "", tmp_path / "secrets")
    environ = {"TASK_SERVER_SETTINGS_PATH": f"/nonexistent/11-a.py:{wrong}"}

    with pytest.raises(ConfigError) as caught:
        settings_files(folder, environ)

    assert [
        "/nonexistent/11-a.py does not exist; create it or take it off the list",
        f"{wrong} is not named like 11-private.py; rename it",
    ] == [problem.message for problem in caught.value.problems]
    assert {"TASK_SERVER_SETTINGS_PATH"} == {problem.setting for problem in caught.value.problems}


def test_a_syntax_error_names_file_and_line_and_no_secret(write, loaded):
    """
    The line with the error may hold a password, so its text is not printed.
    """
    path = write("11-private.py", "A = 1\nPASSWORD = 'hunter2\n")

    with pytest.raises(ConfigError) as caught:
        loaded()

    assert f"{path}:2: SyntaxError: unterminated string literal" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_exception_names_file_and_line(write, loaded):
    """
    The line is that of the settings file, also if the error is raised deeper; the cause stays.
    """
    path = write("10-public.py", "import json\n\nA = json.loads('{')\n")

    with pytest.raises(ConfigError) as caught:
        loaded()

    assert f"{path}:3: JSONDecodeError:" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_file_with_null_bytes_is_named(write, loaded):
    """
    A file that is no text at all is an error of the configuration.
    """
    path = write("10-public.py", b"A = 1\n\0")

    with pytest.raises(ConfigError, match=str(path)):
        loaded()


def test_a_world_readable_private_file_is_warned_about(write, loaded):
    """
    The warning has a class of its own and names the command that fixes it.
    """
    path = write("11-private.py", "A = 1\n")
    path.chmod(0o644)

    with pytest.warns(WorldReadableWarning, match=f"chmod o-r {path}") as caught:
        loaded()

    assert len(caught) == 1


def test_the_warning_is_shown_once(write, folder):
    """
    Under Python's own filters, loading again does not repeat the warning.
    """
    write("11-private.py", "").chmod(0o644)
    code = compile("from task_server.settings import load\nload(globals(), {})", "s", "exec")
    namespace = {"__name__": "s", "__file__": str(folder / "__init__.py")}

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        exec(code, namespace)  # noqa: S102
        exec(code, namespace)  # noqa: S102

    assert [WorldReadableWarning] == [warning.category for warning in caught]


def test_a_private_file_of_its_owner_is_not_warned_about(write, loaded):
    """
    Warnings are errors in these tests: a file of mode 0600 gives none.
    """
    write("11-private.py", "A = 1\n")

    assert loaded()["A"] == 1


def test_explain_returns_which_file_set_and_which_overrode(write, folder):
    """
    Each file that touches the setting is reported, in order; the others are not.
    """
    first = write("10-public.py", "COLOUR = 'red'\n")
    second = write("11-private.py", "COLOUR = 'blue'\n")
    write("12-other.py", "SHAPE = 'round'\n")
    third = write("13-again.py", "COLOUR = 'blue'\n")

    assert (
        Change(first, "set", "red"),
        Change(second, "override", "blue"),
        Change(third, "override", "blue"),
    ) == explain("COLOUR", folder, {})


def test_explain_sees_a_dict_that_is_changed_in_place(write, folder):
    """
    `DATABASES["default"]["HOST"] = …` is a change; the earlier value is not rewritten by it.
    """
    first = write("10-public.py", "DATABASES = {'default': {'HOST': '', 'PASSWORD': 'hunter2'}}\n")
    second = write("11-private.py", "DATABASES['default']['HOST'] = 'db'\n")
    third = write("12-private.py", "DATABASES['default']['PASSWORD'] = 'hunter3'\n")
    values = [
        {"default": {"HOST": "", "PASSWORD": "********"}},
        {"default": {"HOST": "db", "PASSWORD": "********"}},
        {"default": {"HOST": "db", "PASSWORD": "********"}},
    ]

    assert (
        Change(first, "set", values[0]),
        Change(second, "change", values[1]),
        Change(third, "change", values[2]),
    ) == explain("DATABASES", folder, {})


def test_explain_returns_a_removal_and_nothing(write, folder):
    """
    A deleted name is removed; a name that no file sets has no changes.
    """
    first = write("10-public.py", "A = 1\n")
    second = write("11-private.py", "del A\n")

    assert (Change(first, "set", 1), Change(second, "remove", None)) == explain("A", folder, {})
    assert explain("B", folder, {}) == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SECRET_KEY", "hunter2", "********"),
        ("API_TOKENS", ["hunter2"], "********"),
        ("SENTRY_DSN", "https://hunter2@sentry", "********"),
        ("EMAIL_HOST_PASSWORD", "", ""),
        ("GITHUB_TOKEN", None, None),
        ("URL", "redis://:hunter2@db/0", "redis://:********@db/0"),
        ("URL", "postgres://me:hunter2/@2@db/x", "postgres://me:********@db/x"),
        ("URL", "http://db:5432/x", "http://db:5432/x"),
        ("URL", "postgres:///x?password=hunter2&a=b", "postgres:///x?password=********&a=b"),
        ("LIBPQ", "host=db password=hunter2", "host=db password=********"),
        ("NESTED", [{"a": ({"api_key": "hunter2"},)}], [{"a": ({"api_key": "********"},)}]),
        ("PATH", Path("/x"), repr(Path("/x"))),
        ("PORT", 5432, 5432),
    ],
)
def test_secrets_are_masked(name, value, expected):
    """
    Secret-looking names are masked as a whole, and passwords inside of URLs, at any depth.
    """
    assert expected == masked(value, name)


def test_locate_finds_the_folder_of_a_settings_module():
    """
    The module is found without being executed; one that is not there is named.
    """
    assert locate("docket.settings").parts[-2:] == ("docket", "settings")

    with pytest.raises(ConfigError, match=r"no module 'absent\.settings'"):
        locate("absent.settings")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a = b(c=1)", "a = b(c=1)"),
        ("host=db password = mellon", "host=db password = ********"),
        ("API_TOKEN=mellon&x", "API_TOKEN=********&x"),
        ("pa\u017f\u017fword=mellon", "pa\u017f\u017fword=********"),
        ("\u212aey=mellon", "\u212aey=********"),
        ("redis://u:mellon@h", "redis://u:********@h"),
        ("a key, and no more", "a key, and no more"),
    ],
)
def test_secrets_are_masked_in_text(text, shown):
    """
    Most text has none, and is not searched for long; whatever letters the names are written in.
    """
    assert shown == without_passwords(text) == masked_repr(text)
    assert may_have_passwords(text) or text == shown


def test_secrets_are_masked_in_arguments():
    """
    By the names of keys, in any letters.
    """
    assert "{'DSN': '********', 'a': 1}" == masked_repr("{'DSN': 'x', 'a': 1}")
    assert "{'\u017fecret': '********'}" == masked_repr("{'\u017fecret': ('x', 2)}")
    assert "{'a': {'b': 'c'}}" == masked_repr("{'a': {'b': 'c'}}")
