"""Where settings come from, who wins, and what is said of mistakes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.settings import ConfigError, Settings, known_names, load_settings


def write(path, text):
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(tmp_path, text="", env=None, overrides=None):
    """What is said of wrong settings."""
    file = write(tmp_path / "rootmend.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, overrides, env=env or {}, cwd=tmp_path)
    return caught.value.problems


def test_without_any_source_the_defaults_hold(tmp_path):
    """A start with nothing set is a start with the documented defaults."""
    settings = load_settings(env={}, cwd=tmp_path)
    assert settings == Settings()
    assert settings.kafka.topics.dlq == "remediation.dlq"
    assert settings.default_cluster == "default"
    assert settings.runbooks.folders[0].name == "catalog"


def test_command_line_beats_environment_beats_file_beats_default(tmp_path):
    """Each source overrides only the keys that it sets."""
    file = write(
        tmp_path / "rootmend.yaml",
        "kafka: {bootstrap_servers: 'file:1', group_id: file}\nkubernetes: {context: file, cluster_name: file}\n",
    )
    env = {"ROOTMEND_KAFKA__GROUP_ID": "env", "ROOTMEND_KUBERNETES__CONTEXT": "env"}
    settings = load_settings(file, {"kubernetes": {"context": "line", "kubeconfig": None}}, env=env, cwd=tmp_path)
    assert settings.kubernetes.context == "line"
    assert settings.kubernetes.cluster_name == "file"
    assert settings.kubernetes.kubeconfig is None
    assert settings.kafka.group_id == "env"
    assert settings.kafka.bootstrap_servers == "file:1"
    assert settings.kafka.batch_max_records == 500


def test_the_first_file_found_counts_as_a_whole(tmp_path):
    """The order is command line, ROOTMEND_CONFIG, working folder, local stack; files are never mixed."""
    stack = write(tmp_path / ".rootmend/stack/rootmend.yaml", "kafka: {group_id: stack, bootstrap_servers: 'stack:1'}")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert load_settings(env={}, cwd=below).kafka.group_id == "stack"

    write(below / "rootmend.yaml", "kafka: {group_id: here}")
    here = load_settings(env={}, cwd=below).kafka
    assert (here.group_id, here.bootstrap_servers) == ("here", "127.0.0.1:9092")

    named = write(tmp_path / "named.yaml", "kafka: {group_id: named}")
    assert load_settings(env={"ROOTMEND_CONFIG": str(named)}, cwd=below).kafka.group_id == "named"
    assert load_settings(stack, env={"ROOTMEND_CONFIG": str(named)}, cwd=below).kafka.group_id == "stack"


def test_the_state_folder_of_the_stack_may_be_elsewhere(tmp_path):
    """ROOTMEND_STATE says where the local stack keeps its settings."""
    write(tmp_path / "state/stack/rootmend.yaml", "kafka: {group_id: moved}")
    settings = load_settings(env={"ROOTMEND_STATE": str(tmp_path / "state")}, cwd=tmp_path)
    assert settings.kafka.group_id == "moved"


@pytest.mark.parametrize("how", ["line", "env"])
def test_a_named_file_that_is_missing_stops_the_start(tmp_path, how):
    """Falling back to another file would act with other limits than its author wrote."""
    env = {"ROOTMEND_CONFIG": "nowhere.yaml"} if how == "env" else {}
    with pytest.raises(ConfigError, match="there is no file"):
        load_settings(tmp_path / "nowhere.yaml" if how == "line" else None, env=env, cwd=tmp_path)


def test_an_unknown_key_is_told_with_its_place_and_the_nearest_valid_one(tmp_path):
    """A misspelt key is found with file, line and column."""
    (problem,) = problems(tmp_path, "kafka:\n  group_id: a\n  bootstrap_server: b:1\n")
    assert problem.startswith(f"{tmp_path}/rootmend.yaml:3:3: unknown key kafka.bootstrap_server")
    assert problem.endswith("did you mean kafka.bootstrap_servers?")


def test_a_key_in_the_wrong_group_is_told_where_it_belongs(tmp_path):
    """A key without its group is not merely unknown: the group is named."""
    (problem,) = problems(tmp_path, "bootstrap_servers: b:1\n")
    assert "did you mean kafka.bootstrap_servers?" in problem


def test_an_unknown_key_deep_inside_is_found(tmp_path):
    """Every level refuses what it does not know."""
    (problem,) = problems(tmp_path, "matching:\n  bridge:\n    dead_line: 3m\n")
    assert ":3:5: " in problem
    assert "did you mean matching.bridge.deadline?" in problem


def test_an_unknown_variable_is_told_with_the_nearest_valid_one(tmp_path):
    """A variable that means nothing was meant to mean something."""
    (problem,) = problems(tmp_path, env={"ROOTMEND_GATE__MAX_BLAST_RADIOUS": "5"})
    assert problem == (
        "environment: ROOTMEND_GATE__MAX_BLAST_RADIOUS is no setting; did you mean ROOTMEND_GATE__MAX_BLAST_RADIUS?"
    )


def test_variables_that_other_parts_own_are_left_alone(tmp_path):
    """Folders of the stack and secrets of runbooks are no settings."""
    env = {
        "ROOTMEND_STATE": str(tmp_path),
        "ROOTMEND_CACHE": "x",
        "ROOTMEND_MAVEN_URL": "https://example.com",
        "ROOTMEND_SECRET_REGISTRY": "x",
        "OTHER": "x",
    }
    assert load_settings(env=env, cwd=tmp_path) == Settings()


def test_all_problems_are_told_at_once(tmp_path):
    """One start shows everything that has to be mended."""
    found = problems(
        tmp_path,
        "kafka: {group: a}\nlogging:\n  format: jsn\nexecution: {max_concurrent: 0}\n",
        env={"ROOTMEND_REDISS__URL": "x", "ROOTMEND_API__PORT": "many"},
    )
    text = "\n".join(found)
    assert len(found) == 5
    assert "kafka.group" in text
    assert "rootmend.yaml:3:3: logging.format: expected 'auto', 'json' or 'human'; did you mean json?" in text
    assert "rootmend.yaml:4:13: execution.max_concurrent: input should be greater than or equal to 1" in text
    assert "environment: ROOTMEND_API__PORT: api.port: input should be a valid integer" in text
    assert "environment: ROOTMEND_REDISS__URL is no setting" in text


def test_broken_yaml_is_told_with_line_and_column(tmp_path):
    """A syntax error names the place where reading stopped."""
    (problem,) = problems(tmp_path, "kafka:\n  group_id: [a\nneo4j: {}\n")
    assert problem.startswith(f"{tmp_path}/rootmend.yaml:3:")


def test_a_key_that_is_set_twice_stops_the_start(tmp_path):
    """YAML would silently take the last one."""
    (problem,) = problems(tmp_path, "gate:\n  max_blast_radius: 5\n  max_blast_radius: 500\n")
    assert problem.endswith(":3:3: gate.max_blast_radius is set twice")


@pytest.mark.parametrize("text", ["- a\n", "just text\n"])
def test_a_file_that_is_no_mapping_stops_the_start(tmp_path, text):
    """A list or a text cannot hold settings."""
    assert "expected keys and values" in problems(tmp_path, text)[0]


def test_an_empty_file_means_defaults(tmp_path):
    """A file of comments only sets nothing."""
    file = write(tmp_path / "rootmend.yaml", "# nothing yet\n")
    assert load_settings(file, env={}, cwd=tmp_path) == Settings()


def test_a_group_that_is_no_mapping_is_told(tmp_path):
    """A group needs keys."""
    assert problems(tmp_path, "kafka: localhost:9092\n") == (
        f"{tmp_path}/rootmend.yaml:1:1: kafka: expected a group of keys",
    )


def test_lists_in_variables_are_json_or_commas(tmp_path):
    """Both ways of writing a list are understood."""
    for text in ('["a","b"]', "a, b"):
        env = {"ROOTMEND_GATE__PROTECTED_NAMESPACES": text}
        assert load_settings(env=env, cwd=tmp_path).gate.protected_namespaces == ("a", "b")


def test_mappings_in_variables_are_json(tmp_path):
    """Client options may come by variable, where passwords belong."""
    env = {"ROOTMEND_KAFKA__CLIENT": '{"sasl.password": "x"}'}
    assert load_settings(env=env, cwd=tmp_path).kafka.client == {"sasl.password": "x"}


def test_a_variable_that_is_broken_json_is_told(tmp_path):
    """The variable itself is named, not just its group."""
    (problem,) = problems(tmp_path, env={"ROOTMEND_KAFKA__CLIENT": "{"})
    assert problem.startswith("environment: ROOTMEND_KAFKA__CLIENT is not valid JSON")


def test_durations_are_written_as_people_write_them(tmp_path):
    """Units are understood in files and variables."""
    file = write(tmp_path / "rootmend.yaml", "matching: {window: 1h30m, max_age: 7200}\n")
    settings = load_settings(file, env={"ROOTMEND_GATE__COOLDOWN": "90s"}, cwd=tmp_path)
    assert settings.matching.window == timedelta(hours=1, minutes=30)
    assert settings.matching.max_age == timedelta(hours=2)
    assert settings.gate.cooldown == timedelta(seconds=90)


def test_paths_in_the_file_are_relative_to_the_file(tmp_path):
    """The same file means the same from every working folder."""
    file = write(
        tmp_path / "etc/rootmend.yaml",
        "runbooks: {paths: [packaged, own, /abs]}\nkubernetes: {kubeconfig: kube/config}\nsecrets: {folder: s}\n",
    )
    settings = load_settings(file, env={}, cwd=tmp_path)
    assert [str(p) for p in settings.runbooks.folders[1:]] == [str(tmp_path / "etc/own"), "/abs"]
    assert settings.kubernetes.kubeconfig == tmp_path / "etc/kube/config"
    assert settings.secrets.folder == tmp_path / "etc/s"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("redis: {url: 'http://x'}", "redis://"),
        ("neo4j: {uri: 'http://x'}", "neo4j.uri"),
        ("execution: {lease_seconds: 10, heartbeat_seconds: 5}", "third of lease_seconds"),
        ("api: {receiver_token: ''}", "let everybody in"),
        ("api: {max_body_bytes: 2000000}", "kafka.max_message_bytes"),
        ("kafka: {topics: {alerts: remediation.dlq}}", "two meanings"),
        ("matching: {calibration: {mine: [[0, 0], [0.5, 0.9], [0.4, 1], [1, 1]]}}", "rise"),
        ("matching: {calibration: {mine: [[0, 0], [0.5, 1.9]]}}", "between 0 and 1"),
        ("gate: {permit_ttl: 5s}", "provisional_ttl"),
        ("gate: {lock_lease: 10s}", "execution.lease_seconds"),
        ("matching: {window: 0}", "longer than zero"),
        ("gate: {min_confidence_floor: .nan}", "finite"),
        ("runbooks: {paths: []}", "at least 1"),
    ],
)
def test_values_that_cannot_work_stop_the_start(tmp_path, text, word):
    """A value that would disarm a limit or contradict another one is refused, never replaced."""
    assert any(word in problem for problem in problems(tmp_path, text))


def test_secrets_do_not_show_in_problems(tmp_path):
    """A wrong value is told without the value of a secret."""
    text = "\n".join(problems(tmp_path, "redis: {url: 'http://:hunter2@x'}\nneo4j: {password: [hunter2]}\n"))
    assert "hunter2" not in text


@given(st.sampled_from(sorted(n for n in known_names() if "." in n)), st.data())
def test_a_slip_of_the_finger_in_any_key_finds_the_key(name, data):
    """Dropping one letter of any key of some length leads back to a valid key of the same group."""
    *groups, last = name.split(".")
    if len(last) < 6:
        return
    at = data.draw(st.integers(0, len(last) - 1))
    slip = last[:at] + last[at + 1 :]
    values: dict = {slip: "x"}
    for group in reversed(groups):
        values = {group: values}
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=values, env={})
    assert any(f"did you mean {'.'.join(groups)}." in problem for problem in caught.value.problems)
