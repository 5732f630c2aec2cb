"""The account of the pipeline has the least rights that it needs."""

import itertools
import subprocess

import pytest

from compose.practice import bootstrap, keys, kubeconfig
from compose.practice.api import object_path
from compose.state import Secrets

OPTIONAL = ("rootmend-secrets", "rootmend-exec", "rootmend-jobs")


def rules(role):
    found = [
        each for each in bootstrap.manifests() if each["kind"] == "ClusterRole" and each["metadata"]["name"] == role
    ]
    assert len(found) == 1
    return {
        (group, resource, verb)
        for rule in found[0]["rules"]
        for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def test_nothing_is_granted_with_a_star():
    """Each right is named."""
    assert not any("*" in right for role in ("rootmend", *OPTIONAL) for right in rules(role))


def test_the_pipeline_cannot_raise_its_own_rights():
    """It may not touch RBAC, service accounts and their tokens, admission, nor run commands in pods."""
    resources = {resource for _, resource, _ in rules("rootmend")}
    assert not resources & {
        *("roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts", "serviceaccounts/token"),
        *("pods/exec", "pods/attach", "pods/portforward", "nodes/proxy", "configmaps", "secrets"),
        *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
    }


def test_what_it_may_change_is_a_short_list():
    """Every right that is not reading is listed here, so that a new one is seen in a review."""
    changing = {right for right in rules("rootmend") if right[2] not in ("get", "list", "watch")}
    assert changing == {
        ("apps", "deployments", "patch"),
        ("apps", "statefulsets", "patch"),
        ("apps", "daemonsets", "patch"),
        ("batch", "cronjobs", "patch"),
        ("apps", "deployments/scale", "patch"),
        ("apps", "statefulsets/scale", "patch"),
        ("autoscaling", "horizontalpodautoscalers", "patch"),
        ("", "persistentvolumeclaims", "patch"),
        ("", "nodes", "patch"),
        ("", "pods/eviction", "create"),
        ("", "pods", "patch"),
        ("", "pods", "delete"),
        ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    }


def test_secrets_are_a_right_of_their_own():
    """Who does not want Rootmend to renew pull secrets leaves one file out, and they cannot be listed."""
    assert {right for right in rules("rootmend-secrets") if right[1] != "secrets"} == set()
    assert not {"list", "watch"} & {verb for _, _, verb in rules("rootmend-secrets")}


def test_programs_and_jobs_are_rights_of_their_own():
    """Both reach further than any other right, so an installation without them leaves their files out."""
    assert rules("rootmend-exec") == {("", "pods/exec", "get"), ("", "pods/exec", "create")}
    assert rules("rootmend-jobs") == {("batch", "jobs", "create"), ("batch", "jobs", "delete")}


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, "/api/v1/namespaces/a"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}},
            "/api/v1/namespaces/b/configmaps/a",
        ),
        (
            {
                "apiVersion": "admissionregistration.k8s.io/v1beta1",
                "kind": "MutatingAdmissionPolicy",
                "metadata": {"name": "a"},
            },
            "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies/a",
        ),
    ],
)
def test_objects_have_their_paths(manifest, path):
    """Each kind that is applied goes where the API server keeps it."""
    assert object_path(manifest) == path


def test_a_signing_key_is_readable_by_others():
    """The key that is written without a library is one that OpenSSL reads, and no two are alike."""
    first, second = keys.new_signing_key(), keys.new_signing_key()
    said = subprocess.run(["openssl", "ec", "-noout", "-text"], input=first, capture_output=True, text=True, check=True)
    assert "prime256v1" in said.stdout
    assert first != second


def test_only_the_control_plane_has_static_tokens():
    """The pipeline's own token is a service account's: it is bound, and it ends."""
    rows = keys.token_file(Secrets()).splitlines()
    users = [row.split(",")[1] for row in rows]
    assert len(users) == len(set(users)) == 4
    assert not any("rootmend-system" in user for user in users)


def test_a_kubeconfig_names_one_context(tmp_path):
    """The kubeconfig of the pipeline holds nothing of the administrator."""
    (tmp_path / "ca").write_text("certificate")
    path = tmp_path / "kubeconfig"
    kubeconfig.write(path, server="https://127.0.0.1:1", authority=tmp_path / "ca", token="t", context="c")
    assert kubeconfig.token_of(path) == "t"
    assert path.read_text().count("- name:") == 3


def test_an_unreadable_token_counts_as_ended():
    """A token that is not a service account's is replaced, never trusted."""
    assert kubeconfig.expires_at("abc") == 0.0
