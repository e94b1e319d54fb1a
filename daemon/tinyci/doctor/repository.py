"""The bare repository that people push to: with the right owners and rights, and the hook that makes jobs."""

import os
import shlex
import shutil

from tinyci.doctor import files, packages, ssh
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import TOO_LATE, CommandResult, File, System, group_of, user_entry
from tinyci.model.repo import Repo

HOOKS = os.path.dirname(files.HOOK)
_NO_SHELLS = ("nologin", "false")
_LOOK = 5.0
"""Seconds to walk through a repository."""


def share(path: str, user: str) -> str:
    """Return the command that lets a user read a repository, whoever else may."""
    acl = f"command -v setfacl >/dev/null || {packages.install('acl')}"
    return f"{acl}; setfacl -R -m u:{user}:rX,d:u:{user}:rX {shlex.quote(path)}"


def judge_there(path: str, user: str, missing: list[str], directory: File | None) -> Finding:
    """`user`: may read it, beside root. `missing`: those of HEAD, config and objects that are not there."""
    if directory is None:
        word = shlex.quote(path)
        make = (
            f"cd {word} && umask 027 && git init --quiet --bare && git config core.sharedRepository 0640 && "
            f"git config core.hooksPath {HOOKS} && git config receive.advertisePushOptions true"
        )
        mend = f"install --directory --owner=git --group=git --mode=2750 {word} && "
        mend += f"runuser -u git -- sh -c {shlex.quote(make)}"
        if user:
            mend += f" && {{ {share(path, user)}; }}"
        return wrong(Problem.REPOSITORY_MISSING, f"{path} is missing: there is nothing to push to", mend)
    if missing:
        text = f"{path} is no bare git repository, {missing[0]} is not in it: have it back from a backup, or move what"
        return wrong(Problem.REPOSITORY_BROKEN, f"{text} is there away, and a new one can be made")
    return ok("repository", f"{path} is a bare git repository")


def judge_readable(path: str, user: str, result: CommandResult) -> Finding:
    """`result`: of find, run as the user, for a file that it cannot read."""
    if result.status == TOO_LATE:
        return unchecked("repository-readable", f"{path} is too large to be looked through in {_LOOK:g} s")
    unreadable = result.out.strip() or (result.last if result.status else "")
    if unreadable:
        text = f"{user} cannot read {path} ({unreadable}), and its builds check out from there"
        return wrong(Problem.REPOSITORY_UNREADABLE, text, share(path, user))
    return ok("repository-readable", f"{user} can read {path}")


def judge_private(path: str, mode: int) -> Finding:
    if mode & 0o027:
        text = f"{path} is open to more than git and the repo's user ({mode:o})"
        return wrong(Problem.REPOSITORY_OPEN, text, f"chmod g-w,o-rwx {shlex.quote(path)}")
    return ok("repository-private", f"{path} is closed to others")


def judge_owned(path: str, owner: str, result: CommandResult) -> Finding:
    """`result`: of find, for a file that is not the owner's."""
    if result.status:
        return unchecked("repository-owned", f"{path} cannot be looked through: {result.last}")
    if foreign_file := result.out.strip():
        text = f"{foreign_file} is not {owner}'s, and git fails in a push that has to change it"
        mend = f"find {shlex.quote(path)} ! -user {owner} -exec chown --no-dereference {owner} {{}} +"
        return wrong(Problem.REPOSITORY_FOREIGN, text, mend)
    return ok("repository-owned", f"all in {path} is {owner}'s")


def judge_groups(owner: str, missing: list[str]) -> Finding:
    if missing:
        text = f"user {owner} is not in {' and '.join(missing)}, and cannot make jobs of pushes"
        return wrong(Problem.PUSH_GROUPS_MISSING, text, f"usermod --append --groups {','.join(missing)} {owner}")
    return ok("push-groups", f"user {owner} may make jobs of pushes")


def judge_shell(owner: str, shell: str, *, is_there: bool) -> Finding:
    if os.path.basename(shell) in _NO_SHELLS:
        text = f"user {owner} has the shell {shell}, so that SSH refuses every push"
        return wrong(Problem.PUSH_SHELL_REFUSES, text, f"usermod --shell /usr/bin/git-shell {owner}")
    if not is_there:
        text = f"the shell {shell} of user {owner} is missing, so that SSH refuses every push"
        return wrong(Problem.PUSH_SHELL_MISSING, text, packages.again("git") if shell == "/usr/bin/git-shell" else "")
    return ok("push-shell", f"user {owner} has a shell that takes pushes")


def judge_git(path: str, *, is_installed: bool) -> Finding:
    if is_installed:
        return ok("git", f"git is installed, and can take what is pushed to {path}")
    text = f"git is not installed: nothing can be pushed to {path}, and no build checks out from there"
    return wrong(Problem.GIT_NOT_INSTALLED, text, packages.install("git"))


def judge_hook(path: str, owner: str, hook: str, *, is_ours: bool) -> Finding:
    """`hook`: the path of the post-receive hook that git runs there."""
    if is_ours:
        return ok("hook", "git runs tinyci's hook after a push")
    mend = f"runuser -u {owner} -- git -C {shlex.quote(path)} config core.hooksPath {HOOKS}"
    return wrong(Problem.HOOK_FOREIGN, f"git runs {hook} after a push, not tinyci's hook: no job comes of it", mend)


def judge_runs(owner: str, hook: File | None, result: CommandResult) -> Finding:
    """`result`: of the hook, run as after a push that changed nothing."""
    if hook is None:
        return wrong(
            Problem.HOOK_MISSING, f"{files.HOOK} is missing: no job comes of a push", files.restore(files.HOOK)
        )
    if not hook.mode & 0o001:
        text = f"{files.HOOK} is not executable ({hook.mode:o}), so that git passes it over: no job comes of a push"
        return wrong(Problem.HOOK_NOT_EXECUTABLE, text, f"chmod 755 {files.HOOK}")
    if result.status or result.out.strip():
        text = f"the hook fails when {owner} runs it, and no job comes of a push: {result.last}"
        if "Permission denied" in result.err:
            return wrong(Problem.HOOK_CLOSED, text, "chmod -R go+rX /opt/tinyci")
        # Whatever it finds wrong, it ends well, and says so: what fails is its code.
        if result.status:
            return wrong(Problem.HOOK_FAILS, text, files.reinstall())
        return wrong(Problem.HOOK_COMPLAINS, text)
    return ok("hook-runs", f"{owner} can run the hook")


def judge_options(path: str, owner: str, value: str) -> Finding:
    if value != "true":
        mend = f"runuser -u {owner} -- git -C {shlex.quote(path)} config receive.advertisePushOptions true"
        return wrong(Problem.PUSH_OPTIONS_OFF, f"{path} takes no push options: 'git push -o' fails", mend)
    return ok("push-options", f"{path} takes push options")


async def look(system: System, repo: Repo) -> list[Finding]:
    path = repo.repository
    directory = system.file(path)
    has_git = shutil.which("git") is not None
    if not system.is_root:
        names = ("repository", "repository-readable", "repository-owned", "hook", "hook-runs", "push-options")
        private = [judge_private(path, directory.mode)] if directory else []
        return [judge_git(path, is_installed=has_git), *(unchecked(name) for name in names), *private]
    owner = directory.owner if directory else "git"
    missing = [name for name in ("HEAD", "config", "objects") if not system.exists(f"{path}/{name}")]
    entry, owner_entry = user_entry(repo.user), user_entry(owner)
    reader = repo.user if entry and not repo.is_root else ""
    findings = [judge_git(path, is_installed=has_git), judge_there(path, reader, missing, directory)]
    if owner_entry is None:
        return findings
    if owner != "root":
        own_groups = (await system.run("id", "-Gn", owner)).out.split()
        required_groups = ["tinyci-push", "tinyci-redis"]
        if directory and directory.group != group_of(owner_entry.pw_gid):  # else what is pushed is not of that group
            required_groups.append(directory.group)
        findings.append(judge_groups(owner, [group for group in required_groups if group not in own_groups]))
        is_there = os.access(owner_entry.pw_shell, os.X_OK) or not has_git
        findings.append(judge_shell(owner, owner_entry.pw_shell, is_there=is_there))
        findings += await ssh.look(system, owner)
    if directory is None or missing or not has_git:
        return findings
    if entry and not repo.is_root:
        find = ("find", path, "!", "-readable", "-print", "-quit")
        result = await system.run(*find, user=repo.user, limit=_LOOK)
        findings.append(judge_readable(path, repo.user, result))
    findings.append(judge_private(path, directory.mode))
    result = await system.run("find", path, "!", "-user", owner, "-print", "-quit", limit=_LOOK)
    findings.append(judge_owned(path, owner, result))
    git = ("git", "-C", path)
    hook = (await system.run(*git, "rev-parse", "--git-path", "hooks/post-receive", user=owner)).out.strip()
    hook = os.path.join(path, hook)
    is_ours = system.real(hook) == system.real(files.HOOK)
    findings.append(judge_hook(path, owner, hook, is_ours=is_ours))
    hook_result = await system.run(files.HOOK, user=owner, GIT_DIR=path)
    findings.append(judge_runs(owner, system.file(files.HOOK), hook_result))
    options = await system.run(*git, "config", "--type=bool", "receive.advertisePushOptions", user=owner)
    return [*findings, judge_options(path, owner, options.out.strip())]
