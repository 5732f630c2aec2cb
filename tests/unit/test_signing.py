"""Only reviewed runbooks run: what is signed is what was reviewed, and whatever was changed since is left out."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

import pytest
import yaml
from fakes.pipeline_rig import RUNBOOK, TENANT
from fakes.versioned_rig import VersionedRig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.model import Plan
from runbooks.folder import RunbookFolder
from runbooks.loader import load_file
from safety.approvals import ApprovalStatus, Verb
from safety.policies import Policy, PolicySet, Scope
from safety.policy import PolicySettings
from services.catalogs.signing import make_key, read_private
from services.cli.app import main
from services.config_files import ConfigError
from services.pipeline.catalog import Catalog
from services.pipeline.reviewing import nobody_asks, refusal_of_called
from services.pipeline.ruling import Rulings
from services.pipeline.vetting import Vetting
from services.records import DecisionKind
from services.settings import load_settings
from services.signing.errors import SigningError
from services.signing.model import read_signatures
from services.signing.opening import open_reviewed
from services.signing.reviewed import Requirement, Reviewed
from services.signing.signing import Signer, sign

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAME = "raise-memory"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two keys: of a reviewer who is trusted, and of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: (make_key(folder / name), read_private(folder / name)) for name in ("reviewer", "stranger")}


def put(folder, name=NAME, **changes):
    raw = {**json.loads(json.dumps(RUNBOOK)), "id": name, **changes}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"runbook": raw}))
    return path


def signed(path, private, signer="ann"):
    return sign(load_file(path), Signer(private, signer, NOW))[0]


def judge(folder, keys, requirement=Requirement.REQUIRED, revision=""):
    reviewed = Reviewed([folder], [keys["reviewer"][0]], requirement, revision)
    reviewed.refresh()
    return reviewed


def test_a_signed_runbook_counts_as_reviewed(tmp_path, keys):
    """A trusted key has signed exactly this text; who and when is kept."""
    path = put(tmp_path)
    assert "is not signed" in judge(tmp_path, keys).unsigned(load_file(path))
    signed(path, keys["reviewer"][1])
    reviewed = judge(tmp_path, keys)
    assert reviewed.refused(load_file(path)) == ""
    (one,) = reviewed.signers(load_file(path))
    assert (one.signer, one.signed_at, one.runbook) == ("ann", NOW, NAME)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_no_changed_byte_of_a_signed_runbook_is_taken_for_reviewed(tmp_path, keys, place, bit):
    """One bit anywhere: the file no longer loads, or it is not what was signed."""
    path = put(tmp_path)
    signed(path, keys["reviewer"][1])
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    reviewed = judge(tmp_path, keys)
    folder = RunbookFolder([tmp_path])
    folder.reload()
    assert all(reviewed.refused(one) for one in folder.current.runbooks.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=6))
def test_no_changed_byte_of_a_signature_says_something_else(tmp_path, keys, place, bit):
    """Name, time, revision and hashes are signed as well: what still counts says what it said before."""
    path = put(tmp_path)
    path.with_name(f"{path.name}.sig").unlink(missing_ok=True)
    file = signed(path, keys["reviewer"][1])
    (before,) = read_signatures(file)
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(bytes(content))
    for one in judge(tmp_path, keys).signers(load_file(path)):
        # The last letter of base64 has bits that decoding does not look at.
        assert one.message() == before.message()


def test_the_signature_of_a_stranger_counts_for_nothing(tmp_path, keys):
    """The key is named, so that its owner can be asked."""
    path = put(tmp_path)
    signed(path, keys["stranger"][1])
    assert f"signed by {keys['stranger'][0]}, which is not trusted" in judge(tmp_path, keys).refused(load_file(path))


def test_a_signature_is_good_for_the_runbook_that_it_names(tmp_path, keys):
    """A file of signatures that is renamed to that of another runbook says nothing of it."""
    file = signed(put(tmp_path), keys["reviewer"][1])
    other = put(tmp_path, "another")
    file.rename(other.with_name("another.yaml.sig"))
    assert judge(tmp_path, keys).refused(load_file(other))


@pytest.mark.parametrize("change", ["changed", "gone", "new"])
def test_a_program_beside_the_runbook_belongs_to_it(tmp_path, keys, change):
    """A script that the runbook names is reviewed with it; without this its author could be anybody."""
    steps = [{"name": "say", "action": "run_script", "params": {"script": "fix.sh"}}]
    path, script = put(tmp_path, steps=steps), tmp_path / "fix.sh"
    if change != "new":
        script.write_text("echo careful\n")
    signed(path, keys["reviewer"][1])
    assert judge(tmp_path, keys).refused(load_file(path)) == ""
    script.unlink() if change == "gone" else script.write_text("echo careless\n")
    assert "fix.sh beside it was changed" in judge(tmp_path, keys).refused(load_file(path))


def test_signatures_of_earlier_versions_and_of_others_stay(tmp_path, keys):
    """A version that is put back in force is still known as reviewed; signing twice replaces only one's own."""
    path = put(tmp_path)
    old = path.read_bytes()
    signed(path, keys["reviewer"][1])
    signed(path, keys["stranger"][1])
    put(tmp_path, description="better")
    signed(path, keys["reviewer"][1])
    file = signed(path, keys["reviewer"][1], "ann, again")
    assert len(read_signatures(file)) == 3
    path.write_bytes(old)
    assert judge(tmp_path, keys).refused(load_file(path)) == ""


def test_a_file_that_holds_no_signatures_is_told_and_counts_for_nothing(tmp_path, keys):
    """Neither does it stop the others."""
    good, bad = put(tmp_path), put(tmp_path, "bad")
    signed(good, keys["reviewer"][1])
    bad.with_name("bad.yaml.sig").write_text("{}")
    with pytest.raises(SigningError, match=r"bad\.yaml\.sig holds no signatures: signatures: Field required"):
        read_signatures(bad.with_name("bad.yaml.sig"))
    reviewed = judge(tmp_path, keys)
    assert (bool(reviewed.refused(load_file(bad))), reviewed.refused(load_file(good))) == (True, "")


# In the pipeline


class SignedRig(VersionedRig):
    """A rig that asks for signatures."""

    def __init__(self, folder, keys, requirement=Requirement.REQUIRED):
        self.reviewed = Reviewed([folder], [keys["reviewer"][0]], requirement)
        super().__init__(folder)
        self.vetting = Vetting(self.reviewed.refused if self.reviewed.asks else nobody_asks)

    def new_catalog(self):
        made = Catalog(RunbookFolder([self.folder]), self.hooks, None, self.versions, reviewed=self.reviewed)
        made.load()
        return made

    def sign(self, private):
        return signed(self.folder / f"{NAME}.yaml", private)


@pytest.mark.parametrize("requirement", Requirement)
async def test_an_unsigned_runbook_runs_only_where_signatures_are_not_required(tmp_path, keys, requirement):
    """Off and warn let it run; required leaves it out, and the decision says why it lost."""
    rig = SignedRig(tmp_path, keys, requirement)
    rig.write(safety={"require_approval": False, "max_executions_per_hour": 50, "cooldown": 60})
    await rig.catalog.follow()
    decision = await rig.handle(rig.process(), "app")
    if requirement is not Requirement.REQUIRED:
        assert decision.kind is DecisionKind.PERMIT
        return
    assert decision.kind is DecisionKind.NO_MATCH
    (candidate,) = decision.candidates
    assert "is not signed (rb sign)" in candidate.lost_because
    assert not rig.effects()
    assert not rig.catalog.runbooks, "no other runbook can call it"
    assert any("left out" in remark for remark in rig.catalog.remarks)


async def test_signing_takes_a_runbook_into_force_and_changing_takes_it_out(tmp_path, keys):
    """Without a restart: signatures are followed while the pipeline runs."""
    rig = SignedRig(tmp_path, keys)
    rig.write(safety={"require_approval": False, "max_executions_per_hour": 50, "cooldown": 60})
    rig.sign(keys["reviewer"][1])
    await rig.catalog.follow()
    assert (await rig.handle(rig.process(), "app")).kind is DecisionKind.PERMIT
    rig.write(description="changed", safety={"max_executions_per_hour": 50, "cooldown": 60})
    changed = await rig.handle(rig.process(), "other")
    assert changed.kind is DecisionKind.NO_MATCH
    assert "changed after it was signed" in changed.candidates[0].lost_because


async def test_an_approval_does_not_stand_in_for_a_signature(tmp_path, keys):
    """A plan that was approved while its runbook counted is refused when the signature is taken away meanwhile."""
    rig = SignedRig(tmp_path, keys)
    rig.write(safety={"require_approval": True, "max_executions_per_hour": 50, "cooldown": 300})
    file = rig.sign(keys["reviewer"][1])
    await rig.catalog.follow()
    process = rig.process()
    assert (await rig.handle(process, "app")).kind is DecisionKind.APPROVAL
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    file.unlink()
    await rig.catalog.follow()
    hash_ = question.plan_hash
    await rig.store.answer(question.id, Verb.APPROVE, by="ada", reason="seen", now=rig.clock.now(), plan_hash=hash_)
    await process.desk.sweep()
    await process.quiet()
    assert not rig.effects()
    assert [one.check for one in rig.decisions(DecisionKind.REFUSAL)] == ["unsigned"]


async def test_a_policy_can_ask_for_the_signature(tmp_path, keys):
    """``required_signature`` of a policy holds where the settings ask for nothing."""
    rig = SignedRig(tmp_path, keys, Requirement.OFF)
    wants = Policy("signed", Scope(), {"required_signature": True}, (), 0, "v1")
    rig.rulings = Rulings(lambda: PolicySet([wants], PolicySettings()), unsigned=rig.reviewed.unsigned)
    rig.write(safety={"require_approval": False, "max_executions_per_hour": 50, "cooldown": 60})
    refused = await rig.handle(rig.process(), "app")
    assert (refused.kind, refused.check) == (DecisionKind.REFUSAL, "policy_signature")
    rig.sign(keys["reviewer"][1])
    await rig.catalog.follow()
    assert (await rig.handle(rig.process(), "other")).kind is DecisionKind.PERMIT


def test_a_plan_does_not_run_when_what_it_calls_is_not_reviewed(tmp_path, keys):
    """Also when the called runbook was changed or left out between planning and asking."""
    loaded = load_file(put(tmp_path, "inner"))
    plan = Plan(
        runbook_id=NAME,
        runbook_version="1",
        runbook_sha="0" * 64,
        target_key=TENANT,
        steps=(),
        called={"call": f"inner 1.0 {loaded.sha}"},
    )
    why_not = judge(tmp_path, keys).refused
    refusal = refusal_of_called(plan, {"inner": loaded}, why_not)
    assert refusal is not None
    assert refusal.check == "unsigned"
    assert "it calls inner" in refusal.message
    assert refusal_of_called(plan, {}, why_not) is not None
    signed(tmp_path / "inner.yaml", keys["reviewer"][1])
    assert refusal_of_called(plan, {"inner": loaded}, judge(tmp_path, keys).refused) is None


# An approved revision


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    home = tmp_path / "repo"
    (home / "books").mkdir(parents=True)
    git(home, "init", "-q", "-b", "main")
    path = put(home / "books")
    git(home, "add", ".")
    git(home, "commit", "-q", "-m", "reviewed")
    return path


def test_only_files_as_in_the_approved_revision_are_in_force(repository, keys):
    """A file that was changed, or added, after the approved commit is left out; the branch moves with its review."""
    folder = repository.parent
    reviewed = judge(folder, keys, Requirement.OFF, "main")
    assert reviewed.refused(load_file(repository)) == ""
    extra = put(folder, "extra")
    assert "holds no such file" in reviewed.refused(load_file(extra))
    put(folder, description="changed")
    assert "differs from the approved revision main" in reviewed.refused(load_file(repository))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "reviewed again")
    reviewed.refresh()
    assert [reviewed.refused(load_file(path)) for path in (repository, extra)] == ["", ""]
    git(folder, "checkout", "-q", "--detach", "HEAD~1")
    assert reviewed.refused(load_file(repository)), "what is checked out is not what is approved"


def test_files_beside_a_runbook_are_as_in_the_approved_revision(repository, keys):
    """A script that is not in the revision is no part of what was reviewed."""
    folder = repository.parent
    put(folder, steps=[{"name": "say", "action": "run_script", "params": {"script": "fix.sh"}}])
    git(folder, "commit", "-q", "-am", "with a script")
    assert judge(folder, keys, Requirement.OFF, "main").refused(load_file(repository)) == ""
    (folder / "fix.sh").write_text("echo careless\n")
    assert "fix.sh" in judge(folder, keys, Requirement.OFF, "main").refused(load_file(repository))


def test_a_revision_that_cannot_be_read_any_more_keeps_what_was_approved(repository, keys):
    """The content was approved; that the branch is gone approves nothing new."""
    reviewed = judge(repository.parent, keys, Requirement.OFF, "main")
    git(repository.parent, "branch", "-m", "main", "trunk")
    reviewed.refresh()
    assert reviewed.refused(load_file(repository)) == ""
    put(repository.parent, description="changed")
    assert reviewed.refused(load_file(repository))


@pytest.mark.parametrize("revision", ["nowhere", "--upload-pack=x", "main"])
def test_an_approved_revision_that_cannot_be_read_stops_the_start(tmp_path, repository, revision):
    """A misspelt branch must not approve anything, nor silently nothing; neither must a folder outside of Git."""
    folder = tmp_path if revision == "main" else repository.parent
    file = tmp_path / "rootmend.yaml"
    file.write_text(yaml.safe_dump({"runbooks": {"paths": [str(folder)], "approved_revision": revision}}))
    with pytest.raises(ConfigError, match="approved_revision"):
        open_reviewed(load_settings(file, env={}))


def test_signatures_that_nobody_could_give_stop_the_start(tmp_path):
    """``required`` without a trusted key would stop every runbook without saying so."""
    file = tmp_path / "rootmend.yaml"
    file.write_text("runbooks: {require_signature: required}\n")
    with pytest.raises(ConfigError, match="needs trusted_keys"):
        load_settings(file, env={})


# The commands


def test_the_commands_sign_and_verify(tmp_path, monkeypatch, capsys):
    """``rb keys generate``, ``rb sign`` and ``rb verify`` fit together, and exit codes tell programs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books").mkdir()
    path = put(tmp_path / "books", steps=[{"name": "wait", "action": "wait", "params": {"seconds": 1}}])
    assert main(["keys", "generate", "review.pem"]) == 0
    public = capsys.readouterr().out.strip()
    assert (tmp_path / "review.pem").stat().st_mode & 0o777 == 0o600
    chosen = {"paths": ["books"], "trusted_keys": [public], "require_signature": "required"}
    (tmp_path / "rootmend.yaml").write_text(yaml.safe_dump({"runbooks": chosen}))
    assert main(["verify"]) == 1
    assert main(["validate", "books"]) == 0
    assert "will not run: raise-memory" in capsys.readouterr().err
    assert main(["sign", "books", "--key", "review.pem", "--signer", "Ann", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["file"] == f"books/{path.name}.sig"
    assert main(["verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["signers"] == ["Ann"]
    assert main(["verify", "books", "--key", "ed25519:" + "A" * 43 + "="]) == 1
    path.write_text(path.read_text() + "# harmless?\n")
    assert main(["verify"]) == 1
    assert "changed after it was signed" in capsys.readouterr().out.replace("\n", " ")


def test_what_cannot_be_used_is_not_signed(tmp_path, monkeypatch, capsys):
    """Half a review is none: with one bad file nothing is signed."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path, steps=[{"name": "wait", "action": "wait", "params": {"seconds": 1}}])
    (tmp_path / "worse.yaml").write_text("runbook: {id: worse}\n")
    main(["keys", "generate", "key.pem"])
    assert main(["sign", "raise-memory.yaml", "worse.yaml", "--key", "key.pem"]) == 1
    assert "worse.yaml" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.sig"))
