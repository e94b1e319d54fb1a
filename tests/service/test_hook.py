"""A real `git push` into a bare repository with the hook: one job for each ref that a repo deploys."""

import os
import pwd
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gitrepos import Clone, git
from hookhost import HookHost
from servers import TREE, MessageBus, Redis
from tinyci.model.job import Job
from tinyci.model.moment import Moment
from tinyci.runtime import clock

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
ZERO = "0" * 40


@pytest.fixture
def host(tmp_path: Path, redis: Redis) -> HookHost:
    return HookHost(tmp_path, redis)


def the_id(line: str, name: str = "web") -> str:
    match = re.fullmatch(f"started job ({UUID}) for {name}\\.", line)
    assert match, line
    return match[1]


# -- jobs --------------------------------------------------------------------------------------------------------


def test_a_push_starts_a_job(host: HookHost) -> None:
    revision = host.clone.commit()
    began = time.time()
    (line,) = host.push(TINYCI_PUSHER="lea@laptop")
    job_id = the_id(line)
    assert host.queued_ids() == [job_id]
    fields = host.fields(job_id)
    created = datetime.fromisoformat(fields.pop("created"))
    assert began - 1 < created.timestamp() < time.time() + 1
    assert created.tzinfo == UTC
    moment = Moment.parse(fields.pop("moment"))
    assert moment
    assert moment.boot_id == clock.moment().boot_id
    assert 0 <= clock.moment().seconds - moment.seconds < 60
    assert fields == {
        "repo": "web",
        "ref": "refs/heads/main",
        "revision": revision,
        "previous": ZERO,
        "pusher": "lea@laptop",
    }
    assert sorted(host.redis.data.keys()) == [f"tinyci:new:{job_id}", "tinyci:queue"]


def test_the_daemon_can_read_the_job(host: HookHost) -> None:
    revision = host.clone.commit()
    job_id = the_id(*host.push())
    job = Job.parse(job_id, host.fields(job_id))
    assert (job.repo, job.ref, job.revision) == ("web", "refs/heads/main", revision)


def test_without_a_name_the_pusher_is_the_account(host: HookHost) -> None:
    host.clone.commit()
    job_id = the_id(*host.push())
    assert host.fields(job_id)["pusher"] == pwd.getpwuid(os.getuid()).pw_name


def test_the_next_push_knows_the_revision_before(host: HookHost) -> None:
    first = host.clone.commit()
    host.push()
    second = host.clone.commit()
    fields = host.fields(the_id(*host.push()))
    assert (fields["previous"], fields["revision"]) == (first, second)


def test_several_refs_are_jobs_in_the_order_of_the_push(host: HookHost) -> None:
    host.write_repo("web", refs='["refs/heads/*", "refs/tags/*"]')
    revision = host.clone.commit()
    *lines, last = host.push("main:main", "main:b", "main:a", "main:refs/tags/v1")
    assert last == "web deploys these one after another, refs/tags/v1 last: that is what runs in the end."
    ids = [the_id(line) for line in lines]
    assert len(set(ids)) == 4
    assert host.queued_ids() == ids
    refs = [host.fields(job_id)["ref"] for job_id in ids]
    assert sorted(refs) == ["refs/heads/a", "refs/heads/b", "refs/heads/main", "refs/tags/v1"]
    assert {host.fields(job_id)["revision"] for job_id in ids} == {revision}


def test_of_several_tags_the_newest_version_is_deployed_last(host: HookHost) -> None:
    host.write_repo("stage", refs='["refs/heads/main"]')
    host.write_repo("web", refs='["refs/heads/*", "refs/tags/*"]')
    host.clone.commit()
    tags = ["v1.9", "v1.10-rc2", "v1.10-rc10", "v1.10"]
    for tag in tags:
        host.clone.git("tag", tag)
    *_, last = host.push("main", "--tags")
    jobs = [host.fields(job_id) for job_id in host.queued_ids()]
    refs = [job["ref"] for job in jobs if job["repo"] == "web"]
    assert refs == ["refs/heads/main", *(f"refs/tags/{tag}" for tag in tags)]
    assert last == "web deploys these one after another, refs/tags/v1.10 last: that is what runs in the end."


def test_pushes_are_taken_in_push_order(host: HookHost) -> None:
    ids = []
    for _ in range(3):
        host.clone.commit()
        ids.append(the_id(*host.push()))
    assert host.queued_ids() == ids


def test_two_repos_of_one_repository_are_two_jobs(host: HookHost) -> None:
    host.write_repo("stage")
    host.clone.commit()
    lines = host.push()
    ids = [the_id(lines[0], "stage"), the_id(lines[1], "web")]
    assert host.queued_ids() == ids


def test_a_repository_of_longer_hashes_works_as_well(tmp_path: Path, redis: Redis) -> None:
    host = HookHost(tmp_path, redis)
    sha256 = tmp_path / "sha256"
    sha256.mkdir()
    hooks = tmp_path / "hooks"
    host.clone = Clone(sha256, objects="sha256")
    subprocess.run(["git", f"--git-dir={host.clone.bare}", "config", "core.hooksPath", str(hooks)], check=True)
    host.write_repo("web")
    revision = host.clone.commit()
    job_id = the_id(*host.push())
    fields = host.fields(job_id)
    assert (fields["revision"], fields["previous"]) == (revision, "0" * 64)
    assert len(Job.parse(job_id, fields).revision) == 64


def test_a_forced_push_is_a_push(host: HookHost) -> None:
    host.clone.commit()
    host.push()
    host.clone.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "Other")
    the_id(*host.push("+main"))
    assert len(host.queued_ids()) == 2


@pytest.mark.parametrize("by", ["the pusher", "the repo's file"])
def test_a_repository_that_is_named_by_another_path_is_the_same(host: HookHost, tmp_path: Path, by: str) -> None:
    link = tmp_path / "link.git"
    link.symlink_to(host.clone.bare)
    if by == "the pusher":
        host.clone.git("remote", "set-url", "origin", str(link))
    else:
        host.clone.bare = link
        host.write_repo("web")
    host.clone.commit()
    the_id(*host.push())


# -- no job ------------------------------------------------------------------------------------------------------


def test_a_deleted_ref_makes_no_job_and_is_told(host: HookHost) -> None:
    host.write_repo("web", refs='["refs/heads/*"]')
    host.clone.commit()
    host.push("main", "main:old")
    before = host.queued_ids()
    assert host.push(":old") == ["no job for web: refs/heads/old was deleted."]
    assert host.queued_ids() == before


def test_a_ref_that_is_not_deployed_makes_no_job_and_is_told(host: HookHost) -> None:
    host.clone.commit()
    lines = host.push("main:topic")
    assert lines == ["no job for web: it deploys refs/heads/main, not refs/heads/topic."]
    assert host.queued_ids() == []


def test_of_several_refs_each_is_told_about(host: HookHost) -> None:
    host.clone.commit()
    lines = host.push("main", "main:topic")
    assert sorted(line.split()[0] for line in lines) == ["no", "started"]
    assert len(host.queued_ids()) == 1


def test_a_repository_that_no_file_names_is_told(host: HookHost) -> None:
    (host.etc / "repos.d" / "web.toml").unlink()
    host.clone.commit()
    assert host.push() == [
        f"no job: no file in {host.etc}/repos.d names the repository {host.clone.bare}.",
    ]


def test_a_wrong_file_of_the_repository_is_told_with_what_is_wrong(host: HookHost) -> None:
    host.write_repo("web", more='timeout = "soon"\n')
    host.clone.commit()
    wrong, none = host.push()
    assert wrong.startswith(f"{host.etc}/repos.d/web.toml: timeout: expected a time span of at least 1s")
    assert none.startswith("no job: ")


@pytest.mark.parametrize("text", [b"", b"[", b"\xff\xfe", b"repository = 5"])
def test_a_wrong_file_of_another_repo_stops_nobody(host: HookHost, text: bytes) -> None:
    (host.etc / "repos.d" / "another.toml").write_bytes(text)
    host.clone.commit()
    the_id(*host.push())


def test_a_directory_of_repos_that_is_missing_is_told(host: HookHost, tmp_path: Path) -> None:
    (host.etc / "repos.d").rename(tmp_path / "gone")
    host.clone.commit()
    missing, none = host.push()
    assert missing == f"{host.etc}/repos.d: No such file or directory."
    assert none.startswith("no job: ")


# -- what the pusher asks for ------------------------------------------------------------------------------------


def test_a_push_that_asks_for_no_job_makes_none(host: HookHost) -> None:
    host.clone.commit()
    assert host.push("-o", "skip", "main") == [
        "no job for web: the push asks for none ('tinyci run web' on the server makes one)."
    ]
    assert host.queued_ids() == []


@pytest.mark.parametrize("words", ["[skip ci]", "[ci skip]", "[Skip CI]"])
@pytest.mark.parametrize("how", ["commit", "packed", "tag"])
def test_a_commit_that_asks_for_no_job_makes_none(host: HookHost, words: str, how: str) -> None:
    host.write_repo("web", refs='["refs/heads/*", "refs/tags/*"]')
    host.clone.commit(f"Mend a letter {words}")
    ref = "main"
    if how == "packed":  # as what a big push brings is kept
        subprocess.run(["git", f"--git-dir={host.clone.bare}", "config", "receive.unpackLimit", "1"], check=True)
    elif how == "tag":
        host.clone.git("tag", "--annotate", "--message", "First", "v1")
        ref = "v1"
    (line,) = host.push(ref)
    assert line == (
        f"no job for web: the commit's message says {words.lower()} ('tinyci run web' on the server makes one)."
    )
    assert host.queued_ids() == []


def test_only_the_newest_commit_is_asked(host: HookHost) -> None:
    host.clone.commit("Mend a letter [skip ci]")
    host.clone.commit("Mend another")
    the_id(*host.push())


def test_words_outside_the_message_ask_for_nothing(host: HookHost) -> None:
    host.clone.write("[skip ci]", "[skip ci]")
    host.clone.git("config", "user.name", "[skip ci]")
    host.clone.commit("skip ci")
    the_id(*host.push(GIT_AUTHOR_NAME="[skip ci]"))


def test_an_option_that_is_not_known_is_named_and_the_push_goes_on(host: HookHost) -> None:
    host.clone.commit()
    warning, start = host.push("-o", "folow", "-o", "ci.skip\x1b[2J", "main")[::2]
    assert warning == "there is no push option 'folow': expected follow or skip; the push goes on without it."
    the_id(start)


def test_a_push_that_is_followed_says_so_when_nothing_can_be_followed(host: HookHost, message_bus: MessageBus) -> None:
    """No daemon is there: the job waits for it, and the push ends."""
    host.clone.commit()
    message_bus.kill()
    start, title, hint, failure = host.push("-o", "follow", "main", DBUS_SYSTEM_BUS_ADDRESS=message_bus.address)
    name = the_id(start)[:8]
    assert title == f"== job {name} of web, main"
    assert hint == f"== Ctrl-C leaves it running; 'tinyci log -f {name}' on the server shows it again"
    assert failure.startswith(f"== job {name} cannot be followed: cannot connect to {message_bus.address}")
    assert failure.endswith(" It is not lost.")


def test_a_push_imports_nothing_that_takes_long() -> None:
    """Each would take as long as all the rest of the hook, and every push would pay."""
    slow = {
        *("asyncio", "collections", "contextlib", "dataclasses", "enum", "fnmatch", "functools", "json", "pathlib"),
        *("re", "redis", "socket", "subprocess", "tinyci.cli", "tinyci.dbus", "tomllib", "typing"),
    }
    text = 'repository = "/srv/git/web.git"\nuser = "web"\nunits = ["web.service"]\nsettle = "5s"\n'
    text += 'health = "http://127.0.0.1:8080/health"\nhealth_headers = ["Host: web.example.org"]\n'
    program = (
        f"import sys; sys.path.append({str(TREE / 'daemon')!r}); from tinyci.hook import post_receive as hook; "
        f"assert hook.repofile.matches(hook.Target('web.toml', {text!r}).refs, 'refs/heads/main'); "
        f"sys.exit(' '.join({slow} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""


def test_a_push_from_a_shallow_clone_is_refused_by_git_and_makes_no_job(host: HookHost, tmp_path: Path) -> None:
    for _ in range(2):
        host.clone.commit()
    host.push()
    before = host.queued_ids()
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{host.clone.tree}", "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "commit", "--quiet", "--allow-empty", "--message=Shallow")
    (tmp_path / "new.git").mkdir()
    git(tmp_path / "new.git", "init", "--quiet", "--bare")
    git(tmp_path / "new.git", "config", "core.hooksPath", str(tmp_path / "hooks"))
    host.clone.bare = tmp_path / "new.git"
    host.write_repo("web")
    push = ("push", str(host.clone.bare), "HEAD:refs/heads/main")
    with pytest.raises(subprocess.CalledProcessError) as info:
        git(shallow, *push, TINYCI_ETC=str(host.etc))
    assert b"shallow update not allowed" in info.value.output
    assert host.queued_ids() == before
    # Where an admin allows it, it is a push as any.
    git(host.clone.bare, "config", "receive.shallowUpdate", "true")
    git(shallow, *push, TINYCI_ETC=str(host.etc))
    assert len(host.queued_ids()) == len(before) + 1


# -- strange names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_ref_that_is_not_utf8_disturbs_no_other(host: HookHost, locale: str) -> None:
    host.write_repo("web", refs='["refs/heads/*"]')
    revision = host.clone.commit()
    refs = b"update refs/heads/caf\xe9 " + revision.encode() + b"\n"
    subprocess.run(["git", "update-ref", "--stdin"], cwd=host.clone.tree, input=refs, check=True)
    *lines, _ = host.push("refs/heads/*:refs/heads/*", LC_ALL=locale)
    assert len([the_id(line) for line in lines]) == 2
    assert {host.fields(job_id)["ref"] for job_id in host.queued_ids()} == {"refs/heads/main", "refs/heads/caf\udce9"}


# -- jobs that others make ---------------------------------------------------------------------------------------


def test_a_job_of_a_shell_script_is_a_job(redis: Redis) -> None:
    """HSET three fields, then LPUSH the id, with the hook's account."""
    job_id = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
    script = f"HSET tinyci:new:{job_id} repo web ref refs/heads/main revision {'a' * 40}\nLPUSH tinyci:queue {job_id}\n"
    command = ["redis-cli", "-s", redis.socket, "--user", "hook", "--pass", "secret-hook", "--no-auth-warning"]
    process = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    assert process.stdout == "3\n1\n"
    job = Job.parse(job_id, redis.data.hgetall(f"tinyci:new:{job_id}"))
    assert (job.repo, job.ref, job.revision, job.created) == ("web", "refs/heads/main", "a" * 40, "")
    assert redis.data.lrange("tinyci:queue", 0, -1) == [job_id]


@pytest.mark.parametrize(
    "line",
    [
        "repository = {0!r}",
        "repository={0!r} # a comment",
        '"repository" = {0!r}',
        'repository = """{0}"""',
        "# repository = '/srv/git/other.git'\nrepository = {0!r}",
        'script = """\nrepository = \'/srv/git/other.git\'"""\nrepository = {0!r}',
    ],
)
def test_a_repository_is_found_however_its_file_is_written(host: HookHost, line: str) -> None:
    file = host.etc / "repos.d" / "web.toml"
    file.write_text(f'{line.format(str(host.clone.bare))}\nuser = "web"\nrefs = ["refs/heads/main"]\n')
    host.clone.commit()
    assert the_id(*host.push())


def test_a_link_to_the_repository_is_the_repository(host: HookHost, tmp_path: Path) -> None:
    (tmp_path / "linked.git").symlink_to(host.clone.bare)
    text = f'repository = "{tmp_path}/linked.git"\nuser = "web"\nrefs = ["refs/heads/main"]\n'
    (host.etc / "repos.d" / "web.toml").write_text(text)
    host.clone.commit()
    assert the_id(*host.push())
