"""Catalogs: what is published is what is installed, and whatever was changed on its way is refused."""

from __future__ import annotations

import gzip
import io
import json
import stat
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbooks.folder import RunbookFolder
from services.catalogs import archive, oci, publish_to
from services.catalogs.errors import CatalogError, NotTrusted
from services.catalogs.index import INDEX, SIGNATURE, Index, find, order, read_index
from services.catalogs.install import RECORD, checked_files, choose, install, read_trusted
from services.catalogs.known import Known, add, named, read_known, remove
from services.catalogs.paths import safe_path
from services.catalogs.publish import gather
from services.catalogs.signing import make_key, read_private, sign
from services.catalogs.sources import Files, opened

TEXT = """# as its author wrote it
runbook:
  id: {id}
  version: {version}
  name: Write a note
  author: tests
  tags: [notes]
  trigger: {{root_cause_reason: Noted}}
  steps:
    - {{name: say, action: set, params: {{value: 1}}}}
"""


def write(folder, name="note", version="1.0.0"):
    home = folder / name
    (home / "fixtures").mkdir(parents=True, exist_ok=True)
    (home / "runbook.yaml").write_text(TEXT.format(id=name, version=version))
    (home / "acceptance.yml").write_text("scenarios: []\n")
    (home / "fixtures" / "alert.json").write_text("{}\n")
    return home


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "catalog.key"
    return path, make_key(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, key):
    folder = tmp_path_factory.mktemp("runbooks")
    write(folder)
    write(folder, "other", "2.1")
    return gather(folder, None, key[0])


def installed(source, keys, into, wanted="note", **options):
    """Everything that `rb catalog install` does, after the source was opened."""
    allow = options.pop("allow_unsigned", False)
    trusted = read_trusted(source, "team", keys, allow_unsigned=allow)
    entry = choose(trusted.index, wanted, "team")
    files = checked_files(source, entry, None, "team")
    return install(into, entry, files, origin={"from": "team", "signed-by": trusted.key or "nobody"}, **options)


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# The way there and back


@pytest.mark.parametrize("kind", ["archive", "layout", "tagged", "repository", "bare", "branch"])
def test_what_was_published_is_what_is_installed(kind, made, key, tmp_path):
    """The same files arrive by every way, with a header that says where they came from."""
    url = _published(kind, made, tmp_path)
    with opened(url) as source:
        done = installed(source, [key[1]], tmp_path / "mine")
    text = (done.folder / "runbook.yaml").read_text()
    assert text.startswith("# Installed by rb catalog: note 1.0.0\n")
    assert f"# signed-by {key[1]}\n" in text
    assert text.endswith(TEXT.format(id="note", version="1.0.0"))
    assert (done.folder / "fixtures" / "alert.json").read_text() == "{}\n"
    loaded = RunbookFolder([tmp_path / "mine"])
    loaded.reload()
    assert (list(loaded.current.runbooks), loaded.current.findings) == (["note"], loaded.current.findings)
    assert not [found for found in loaded.current.findings if found.severity == "error"]


def _published(kind, made, folder):
    if kind == "archive":
        publish_to.file(folder / "c.tar.gz", archive.pack(made.files))
        return str(folder / "c.tar.gz")
    if kind in {"layout", "tagged"}:
        publish_to.layout(folder / "layout", archive.pack(made.files), "stable")
        return str(folder / "layout") + (":stable" if kind == "tagged" else "")
    repository = git_repository(folder / "repository", made.files)
    if kind == "bare":
        git(folder, "clone", "--quiet", "--bare", str(repository), "bare.git")
        return f"file://{folder / 'bare.git'}"
    if kind == "branch":
        git(repository, "checkout", "--quiet", "-b", "stable")
        git(repository, "checkout", "--quiet", "-b", "broken")
        (repository / INDEX).write_text("{}")
        git(repository, "commit", "--quiet", "-am", "broken")
        return f"{repository}#stable"
    return str(repository)


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def git_repository(folder, files):
    folder.mkdir()
    publish_to.folder(folder, files)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "a catalog")
    return folder


def test_the_same_runbooks_make_the_same_bytes(tmp_path):
    """Publishing twice makes no difference that nobody made."""
    write(tmp_path)
    first, second = (archive.pack(gather(tmp_path, None).files) for _ in range(2))
    assert first == second


def test_a_catalog_can_be_published_into_its_own_folder_and_still_be_a_folder_of_runbooks(tmp_path, key):
    """A Git repository of runbooks becomes a catalog by one file and its signature."""
    write(tmp_path)
    before = set(tree(tmp_path))
    publish_to.folder(tmp_path, gather(tmp_path, None, key[0]).files)
    assert set(tree(tmp_path)) - before == {INDEX, SIGNATURE}
    again = gather(tmp_path, None, key[0])
    assert again.files[INDEX] == (tmp_path / INDEX).read_bytes()
    folder = RunbookFolder([tmp_path])
    assert not folder.reload().rejected


# What is refused

_KEPT = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_KEPT
@given(data=st.data())
def test_whichever_byte_of_an_archive_is_changed_nothing_else_is_installed(data, made, key, tmp_path_factory):
    """A changed archive is refused, or the change was outside of every file (the archive's own padding and times)."""
    packed = bytearray(archive.pack(made.files))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    _refused_or_the_same(lambda: archive.unpack(bytes(packed), "it"), made, key, tmp_path_factory)


@_KEPT
@given(data=st.data())
def test_whichever_byte_of_a_file_is_changed_it_is_refused(data, made, key, tmp_path_factory):
    """Index, signature, runbook or fixture: every byte counts, and nothing is written."""
    names = [name for name in made.files if name in {INDEX, SIGNATURE} or name.startswith("note/")]
    name = data.draw(st.sampled_from(names))
    content = bytearray(made.files[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    into = tmp_path_factory.mktemp("into")
    same = name == SIGNATURE and _means(bytes(content)) == _means(made.files[name])
    if same:
        return  # a blank between two words of JSON says nothing
    with pytest.raises(CatalogError):
        installed(Files({**made.files, name: bytes(content)}, "it"), [key[1]], into)
    assert not tree(into)


def _means(signature):
    try:
        told = json.loads(signature)
        return told["key"], told["signature"]
    except (ValueError, KeyError, TypeError):
        return None


def _refused_or_the_same(files, made, key, folders):
    whole, into = folders.mktemp("whole"), folders.mktemp("into")
    installed(Files(made.files, "it"), [key[1]], whole)
    try:
        installed(Files(files(), "it"), [key[1]], into)
    except CatalogError:
        assert not tree(into)
    else:
        assert tree(into) == tree(whole)


@pytest.mark.parametrize("part", ["layer", "manifest"])
def test_a_layout_whose_blob_was_changed_is_refused(part, made, tmp_path):
    """OCI names content by its digest; another content under that name is found."""
    publish_to.layout(tmp_path, archive.pack(made.files), "latest")
    packed = archive.pack(made.files)
    named_ = oci.digest(packed if part == "layer" else oci.manifest_of(packed))
    blob = tmp_path / "blobs" / "sha256" / named_.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(CatalogError, match="digest"), opened(str(tmp_path)):
        pass


def test_a_catalog_that_is_not_signed_needs_the_users_word(tmp_path):
    """Nothing is taken on trust by default."""
    write(tmp_path / "theirs")
    source = Files(gather(tmp_path / "theirs", None).files, "it")
    with pytest.raises(NotTrusted, match="is not signed"):
        installed(source, [], tmp_path / "mine")
    done = installed(source, [], tmp_path / "mine", allow_unsigned=True)
    assert "# signed-by nobody" in (done.folder / "runbook.yaml").read_text()


def test_a_key_that_is_not_trusted_counts_as_none(made, key, tmp_path):
    """The message names the key and where to trust it."""
    other = make_key(tmp_path / "other.key")
    with pytest.raises(NotTrusted, match=r"catalogs\.trusted_keys"):
        installed(Files(made.files, "it"), [other], tmp_path / "mine")


def test_a_signature_of_another_index_is_refused_whatever_the_user_says(made, key, tmp_path):
    """A trusted key with a signature that does not fit is no missing signature: somebody changed something."""
    index = read_index(made.files[INDEX], "it")
    less = index.model_copy(update={"entries": index.entries[:1]}).model_dump_json().encode()
    source = Files({**made.files, INDEX: less}, "it")
    with pytest.raises(CatalogError, match="somebody changed it"):
        installed(source, [key[1]], tmp_path / "mine", allow_unsigned=True)


def test_a_signed_index_that_promises_another_runbook_is_refused(made, key, tmp_path):
    """Whoever signs may still be wrong: the runbook must be what the index says."""
    index = read_index(made.files[INDEX], "it")
    (entry, other) = sorted(index.entries, key=lambda e: e.id)
    lying = Index(entries=(entry.model_copy(update={"version": "9.9"}), other)).model_dump_json().encode()
    files = {**made.files, INDEX: lying, SIGNATURE: sign(lying, read_private(key[0]))}
    with pytest.raises(CatalogError, match=r"is note 1\.0\.0, the index says note 9\.9"):
        installed(Files(files, "it"), [key[1]], tmp_path / "mine")


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../x", "a//b", "", ".git/config", "a/.hidden", "C:\\x", "a\\b", "a\nb", "con.txt", "a./b",
     "x" * 200, "/".join("abcdefghij"), "a/\u202eb"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(path):
    """A name from outside never names a place outside."""
    with pytest.raises(CatalogError):
        safe_path(path)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "device", "up", "absolute", "twice"])
def test_an_archive_with_anything_but_plain_files_is_refused(kind):
    """Links, devices, ways out, and two files of one name."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo({"up": "../x", "absolute": "/x"}.get(kind, "x"))
        member.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}.get(
            kind, tarfile.REGTYPE
        )
        member.linkname = "/etc/passwd"
        for _ in range(2 if kind == "twice" else 1):
            tar.addfile(member)
    with pytest.raises(CatalogError):
        archive.unpack(gzip.compress(raw.getvalue()), "it")


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    """A small archive can hold a large file; it is stopped at the limit and not at the end of memory."""
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(CatalogError, match="unpacks to more than 1000000 bytes"):
        archive.unpack(gzip.compress(b"\0" * 3_000_000), "it")


def test_a_link_in_a_repository_is_refused(made, key, tmp_path):
    """What Git calls a link would be read as the name of another file."""
    repository = git_repository(tmp_path / "r", made.files)
    (repository / "note" / "acceptance.yml").unlink()
    (repository / "note" / "acceptance.yml").symlink_to("/etc/hostname")
    git(repository, "commit", "--quiet", "-am", "a link")
    with pytest.raises(CatalogError, match="no plain file"), opened(str(repository)) as source:
        installed(source, [key[1]], tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% x", "--upload-pack=touch x", "git+ext://x", "nowhere/at/all"])
def test_an_address_is_never_a_command(url, tmp_path, monkeypatch):
    """Git knows addresses that start programs."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError), opened(url):
        pass
    assert not tree(tmp_path)


# One's own files


def test_a_file_that_was_changed_here_is_not_overwritten_without_force(made, key, tmp_path):
    """An update takes what nobody changed, and stops before the first write otherwise."""
    source, keys = Files(made.files, "it"), [key[1]]
    done = installed(source, keys, tmp_path)
    mine = done.folder / "runbook.yaml"
    mine.write_text(mine.read_text() + "# my remark\n")
    (done.folder / "acceptance.yml").unlink()
    with pytest.raises(CatalogError, match="--force"):
        installed(source, keys, tmp_path)
    assert not (done.folder / "acceptance.yml").exists()
    installed(source, keys, tmp_path, force=True)
    assert "my remark" not in mine.read_text()


def test_a_newer_version_replaces_files_that_nobody_changed(key, tmp_path):
    """An update needs no --force, and a second one writes nothing."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    for version in ("1.0.0", "1.1.0", "1.1.0"):
        write(theirs, version=version)
        source = Files(gather(theirs, None, key[0]).files, "it")
        done = installed(source, [key[1]], mine)
    assert "version: 1.1.0" in (mine / "note" / "runbook.yaml").read_text()
    assert done.written == ()
    record = json.loads((mine / "note" / RECORD).read_text())
    assert (record["version"], record["from"]) == ("1.1.0", "team")


def test_a_runbook_of_ones_own_in_the_same_place_is_not_touched(made, key, tmp_path):
    """It was not installed from a catalog."""
    write(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(CatalogError, match="not installed from a catalog"):
        installed(Files(made.files, "it"), [key[1]], tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("link", ["note", "note/runbook.yaml", "note/fixtures"])
def test_nothing_is_written_through_a_link(link, made, key, tmp_path):
    """A link in the folder would lead the file to another place."""
    into, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (into / link).parent.mkdir(parents=True, exist_ok=True)
    (into / link).symlink_to(elsewhere if link != "note/runbook.yaml" else elsewhere / "x")
    with pytest.raises(CatalogError, match="is a link"):
        installed(Files(made.files, "it"), [key[1]], into)
    assert not tree(elsewhere)


# Choosing, keys, and the user's list


def test_without_a_version_the_newest_release_is_chosen(key, tmp_path):
    """A pre-release is taken only when it is asked for, or there is nothing else."""
    for number, version in enumerate(("1.9.0", "1.10.0", "2.0.0-rc1")):
        write(tmp_path / str(number), version=version)
    index = gather(tmp_path, None).index
    assert choose(index, "note", "it").version == "1.10.0"
    assert choose(index, "note@2.0.0-rc1", "it").version == "2.0.0-rc1"
    with pytest.raises(CatalogError, match=r"it has 1\.9\.0, 1\.10\.0, 2\.0\.0-rc1"):
        choose(index, "note@3", "it")
    with pytest.raises(CatalogError, match="did you mean note"):
        choose(index, "nota", "it")
    assert sorted(("1.0", "1.0.1", "1.0-a"), key=order) == ["1.0-a", "1.0", "1.0.1"]


def test_a_search_finds_entries_that_hold_every_word(made):
    """In id, name, description or tags; case does not matter."""
    entries = made.index.entries
    assert {entry.id for entry in find(entries, "NOTE")} == {"note", "other"}
    assert {entry.id for entry in find(entries, "notes other")} == {"other"}
    assert not find(entries, "memory")


def test_a_private_key_is_its_owners_and_is_never_overwritten(tmp_path):
    """The file can be read by nobody else."""
    path = tmp_path / "k"
    make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CatalogError, match="never overwritten"):
        make_key(path)


@pytest.mark.parametrize(
    "told",
    [b"", b"[]", b'{"catalog": 2}', b'{"catalog": 1, "entries": [{"id": "x"}]}', b'{"catalog": 1, "surprise": 1}'],
)
def test_an_index_that_cannot_be_used_is_told_with_its_place(told):
    """No trace, and no half of an index."""
    with pytest.raises(CatalogError, match=r"index\.json of it cannot be used"):
        read_index(told, "it")


def test_two_versions_of_one_name_cannot_be_published(tmp_path):
    """Nobody could say which one is meant."""
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(CatalogError, match=r"listed twice: note 1\.0\.0"):
        gather(tmp_path, None)


@pytest.mark.parametrize("what", ["broken", "json", "link", "empty"])
def test_a_folder_with_something_that_cannot_be_published_is_refused_whole(what, tmp_path):
    """Nothing is left out silently."""
    home = write(tmp_path)
    if what == "broken":
        (tmp_path / "bad.yaml").write_text("runbook: {}\n")
    elif what == "json":
        body = {"id": "j", "trigger": {"root_cause_reason": "X"}, "steps": [{"action": "set", "params": {}}]}
        (tmp_path / "j.json").write_text(json.dumps({"runbook": body}))
    elif what == "link":
        (home / "fixtures" / "more.json").symlink_to("/etc/hostname")
    else:
        (home / "runbook.yaml").unlink()
    with pytest.raises(CatalogError):
        gather(tmp_path, None)


def test_the_list_of_catalogs_is_kept_and_damage_is_told(tmp_path):
    """A name is used once; a damaged file is not taken for an empty one."""
    path = tmp_path / "sub" / "catalogs.json"
    add(path, Known(name="team", url="one"))
    add(path, Known(name="team", url="two"))
    assert [(one.name, one.url) for one in read_known(path)] == [("team", "two")]
    with pytest.raises(CatalogError, match="did you mean team"):
        named(path, "tean")
    with pytest.raises(CatalogError, match="cannot be a name"):
        add(path, Known(name="../x", url="x"))
    remove(path, "team")
    assert not read_known(path)
    path.write_text("{")
    with pytest.raises(CatalogError, match="is damaged"):
        read_known(path)


def test_a_manifest_is_the_same_for_the_same_archive():
    """Its digest pins a catalog."""
    assert oci.manifest_of(b"x") == oci.manifest_of(b"x")
    assert oci.layer_of(oci.manifest_of(b"x"), "it") == (f"sha256:{sha256(b'x').hexdigest()}", 1)


def test_paths_of_the_state_are_the_users(monkeypatch, tmp_path):
    """The list is in the user's configuration folder."""
    from services.catalogs.known import state_file  # noqa: PLC0415 - after the variable is set

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert state_file() == Path(tmp_path) / "rootmend" / "catalogs.json"
