"""Container, systemd and Kubernetes files agree with the program: flags, ports, paths, users and times."""

import configparser
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from optimizer.cli.main import root as cli
from optimizer.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()


def instructions(name: str) -> list[str]:
    joined = CONTAINERFILE.replace("\\\n", " ")
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def manifests() -> dict[str, dict[str, Any]]:
    return {
        each["kind"]: each for each in yaml.safe_load_all((ROOT / "config/kubernetes/llm-optimizer.yaml").read_text())
    }


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "config/systemd/llm-optimizer.service")
    return parser


def assert_flags_exist(command: list[str]) -> None:
    flags = {flag for option in cli.params for flag in option.opts}
    assert {word for word in command if word.startswith("-")} <= flags
    assert all(word in cli.commands or word.startswith(("-", "/")) for word in command)


@pytest.mark.parametrize("profile", sorted((ROOT / "config/profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_a_profile_loads(profile: Path) -> None:
    environ = {}
    if profile.stem == "replicated":
        environ["LLM_OPTIMIZER__STORAGE__POSTGRES_URL"] = "postgres://u:p@h/db"
    settings = load_settings(profile, environ)
    assert settings.security.auth_enabled
    for section, keys in tomllib.loads(profile.read_text()).items():
        for key, value in keys.items():
            loaded = getattr(getattr(settings, section), key)
            assert (str(loaded) if isinstance(loaded, Path) else loaded) == value


def test_the_image_runs_as_nobody_in_particular_and_stops_in_order() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert [int(port) for port in instructions("EXPOSE")[0].split()] == [8080, 50051, 9090]
    assert all(image.startswith("docker.io/library/python:3.11-slim") for image in instructions("FROM"))


def test_the_image_installs_pinned_packages_only() -> None:
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert "--require-hashes -r requirements/runtime.txt" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]
    assert len(installs) == 2


def test_everything_that_the_image_copies_is_in_its_context() -> None:
    context = (ROOT / ".containerignore").read_text().splitlines()
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in context


def test_the_environment_of_the_image_is_valid_settings() -> None:
    text = " ".join(instructions("ENV"))
    environ = dict(re.findall(r"(LLM_OPTIMIZER__\w+)=(\S+)", text))
    assert len(environ) == 3
    settings = load_settings(None, environ)
    assert str(settings.storage.data_dir) == instructions("VOLUME")[0]
    assert f":{settings.observability.metrics_port}/health" in instructions("HEALTHCHECK")[0]


def test_the_unit_fits_the_program() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert_flags_exist(service["ExecStart"].split()[1:])
    assert int(service["TimeoutStopSec"].removesuffix("s")) > Settings().supervision.hard_limit_s
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["StateDirectoryMode"] == "0700"


def test_the_pod_fits_the_program() -> None:
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert_flags_exist(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    defaults = Settings()
    assert ports == {
        "rest": defaults.rest_api.port,
        "grpc": defaults.grpc_api.port,
        "metrics": defaults.observability.metrics_port,
    }
    assert pod["terminationGracePeriodSeconds"] > defaults.supervision.hard_limit_s
    assert str(pod["securityContext"]["runAsUser"]) in instructions("USER")[0]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {instructions("VOLUME")[0], "/etc/llm-optimizer"} <= mounts
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in {"/health/live", "/ready"}
        assert container[probe]["httpGet"]["port"] == "metrics"


def test_the_pod_meets_the_restricted_standard() -> None:
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    context = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]


def test_the_configuration_of_the_pod_loads(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(manifests()["ConfigMap"]["data"]["config.toml"])
    settings = load_settings(path, {"LLM_OPTIMIZER__SECURITY__JWT_SECRET": "s" * 64})
    assert settings.security.auth_enabled
    assert settings.supervision.lame_duck_s > 0


def test_no_secret_is_in_any_of_these_files() -> None:
    texts = [path.read_text() for path in (ROOT / "config").rglob("*") if path.is_file()]
    suspicious = re.compile(r"changeme|change-me|default-secret|password\s*=\s*\"[^\"]", re.IGNORECASE)
    assert not any(suspicious.search(text) for text in texts)
    assert os.fspath(ROOT) not in "".join(texts)
