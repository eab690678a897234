"""The Dockerfile, as far as that goes without Docker."""

import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.exported import working_directory

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("image", "jtype"),
    [("encoder", "ColPaliEncoder"), ("ranker", "MaxSimRanker"), ("gateway", "ColPaliGateway")],
)
def test_an_image_s_working_directory_holds_its_config(image, jtype):
    config = yaml.safe_load((working_directory(image) / "config.yml").read_text())
    assert config["jtype"] == jtype


def test_no_image_runs_as_root():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if "CMD" in stage]
    assert len(final) == 3
    assert all("\nUSER 1000\n" in stage for stage in final)


def test_the_light_images_name_packages_that_the_project_depends_on():
    [pattern] = re.findall(r"grep -E '(.+)'", DOCKERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = re.findall(r"[a-z][a-z0-9-]+", pattern)
    kept = [line for line in project["dependencies"] if re.match(pattern, line)]
    assert [re.match(r"[a-z0-9-]+", line).group() for line in kept] == names


def test_the_build_sees_every_room():
    kept = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {path.split("/")[0] for path in packages["package-dir"].values()}
    copied = {path.split("/")[0] for path in re.findall(r"^COPY (\w\S+)", DOCKERFILE, re.MULTILINE)}
    assert rooms | copied <= kept


def test_the_images_get_the_package_from_a_stage_that_has_a_compiler():
    stages = {re.search(r"AS (\w+)", stage).group(1): stage for stage in
              re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]}  # fmt: skip
    assert stages["wheel"].startswith("python:3.11 AS")
    assert all("COPY --from=wheel" in stages[name] for name in ("light", "encoder"))
