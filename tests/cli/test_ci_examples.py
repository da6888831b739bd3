"""The jobs in `examples/ci`: their own shell, the real `hotsite`, git and curl, and a forge's API.

What the forge itself does is given by hand: the checkout, and the values of its variables.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree
from threading import Thread
from urllib.parse import parse_qs

import pytest
import yaml

from tests.cli.shell import EXAMPLES, SPECS, Shell
from tests.cli.test_review import converged
from tests.source.git.repository import Repository, repository

__all__ = ["repository"]
FORGES = ("github", "forgejo", "gitlab")
MACHINE = "specs/virtual_machine/web.yaml"
Post = tuple[str, dict[str, str], str]


@contextmanager
def forge() -> Iterator[tuple[str, list[Post]]]:
    """Yield the address of an API, and what was posted to it."""
    posts: list[Post] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the server's own name
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posts.append((self.path, dict(self.headers), body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state folder of a loop that has looked at the estate of the lab."""
    shell = Shell(tmp_path_factory.mktemp("loop"), converged)
    assert shell("apply", str(SPECS), "--yes").exit_code == 0
    return shell.state


def steps_of(name: str) -> tuple[list[str], dict[str, str]]:
    """Return the shell of each step of a job, and the variables that it sets."""
    value = yaml.safe_load((EXAMPLES / "ci" / f"{name}.yml").read_text())
    if name == "gitlab":
        return value["review"]["script"], value["review"]["variables"]
    job = value["jobs"]["review"]
    return [step["run"] for step in job["steps"] if "run" in step], job["env"]


def run_job(name: str, change: Repository, state: Path, api: str) -> tuple[int, str]:
    """Run the steps of a job as its runner would; return how it ended, and what it printed."""
    given = {"github.base_ref": "main", "github.api_url": api, "github.repository": "us/estate",
             "github.event.number": "7", "github.token": "secret-7",
             "secrets.COMMENT_TOKEN": "secret-7", "CI_API_V4_URL": api, "CI_PROJECT_ID": "3",
             "CI_MERGE_REQUEST_IID": "7",
             "CI_MERGE_REQUEST_DIFF_BASE_SHA": change.git("merge-base", "main", "HEAD")}
    steps, variables = steps_of(name)
    environment = {"COMMENT_TOKEN": "secret-7"} | {
        key: re.sub(r"\$\{\{ (\S+) \}\}|\$(\w+)", lambda one: given[one[1] or one[2]], str(text))
        for key, text in variables.items()}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "HOME": str(change.clone.parent), "HOTSITE_STATE": str(state)}
    said, worst = "", 0
    for step in steps:
        done = subprocess.run(["bash", "-e", "-c", step], cwd=change.clone, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120, check=False)
        said += done.stdout
        worst = worst or done.returncode
        if worst and name == "gitlab":
            break
    return worst, said


@pytest.fixture
def change(repository: Repository) -> Repository:
    """Return a checkout of a branch whose base is on `origin/main` alone."""
    copytree(SPECS, repository.clone / "specs")
    repository.commit_all()
    repository.git("checkout", "--quiet", "-b", "change")
    return repository


def edit(change: Repository, old: str, new: str) -> None:
    path = change.clone / MACHINE
    path.write_text(path.read_text().replace(old, new))
    change.commit_all(push=False)


def comment_of(name: str, posts: list[Post]) -> str:
    """Return the one comment, after checking where it went and that its token was right."""
    (path, headers, body), = posts
    if name == "gitlab":
        assert path == "/projects/3/merge_requests/7/notes"
        assert headers["PRIVATE-TOKEN"] == "secret-7"
        return parse_qs(body)["body"][0]
    assert path == "/repos/us/estate/issues/7/comments"
    assert headers["Authorization"].split() == [
        "Bearer" if name == "github" else "token", "secret-7"]
    text: str = json.loads(body)["body"]
    return text


@pytest.mark.parametrize("name", FORGES)
def test_a_job_comments_on_what_a_change_would_do(
        name: str, change: Repository, state: Path) -> None:
    edit(change, "memory: 128MiB", "memory: 192MiB")
    with forge() as (api, posts):
        status, said = run_job(name, change, state, api)
    assert status == 0, said
    comment = comment_of(name, posts)
    assert comment.startswith("### hotsite: this brings ")
    assert "~ VirtualMachine/web" in comment
    assert comment.strip() in said
    assert "secret-7" not in said


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_a_job_fails_where_a_vm_would_not_come_back_any_more(
        name: str, change: Repository, state: Path) -> None:
    edit(change, "  protection: gold\n", "")
    with forge() as (api, posts):
        status, said = run_job(name, change, state, api)
    assert status != 0, said
    assert len(posts) == 1


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_a_job_fails_where_specs_are_invalid(
        name: str, change: Repository, state: Path) -> None:
    edit(change, "memory:", "memry:")
    with forge() as (api, posts):
        status, said = run_job(name, change, state, api)
    assert status == 4, said
    assert "unknown field `memry`" in said
    if name != "gitlab":    # which ends a job at the first command that fails
        assert "these specs are invalid" in comment_of(name, posts)


def test_the_job_for_forgejo_does_what_the_one_for_github_does() -> None:
    ours, theirs = steps_of("github")[0], steps_of("forgejo")[0]
    assert [step.replace("Bearer", "token") for step in ours] == theirs


@pytest.mark.parametrize("name", FORGES)
def test_no_job_brings_a_token_into_a_command_line(name: str) -> None:
    for step in steps_of(name)[0]:
        for line in step.replace("\\\n", " ").splitlines():
            assert "TOKEN" not in line or re.match(r"printf .*\| curl .*--header @- ", line), line
