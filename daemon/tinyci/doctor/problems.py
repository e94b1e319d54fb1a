"""The keys of all that doctor can find wrong: `CHECK/WORD`, stable, for scripts.

Tests on booted hosts break each of them on purpose (tests/host/breaking.py). To add one: a row here, the place in this
room that finds it, and a breakage.
"""

from collections.abc import Mapping
from enum import StrEnum

from tinyci.model.stagecontract import STAGES

SERVICES = ("redis", "polkit", "daemon", "manager", "gate")
"""Checks of a service that has to be up."""
REDIS_USERS = ("daemon", "hook", "notify", "web")


class Problem(StrEnum):
    """One way in which a check can be wrong. `*` in the name of the check stands for one of several names."""

    # Of every service.
    SERVICE_MASKED = "*/masked"
    SERVICE_NOT_INSTALLED = "*/not-installed"
    SERVICE_UNLOADABLE = "*/unloadable"
    """Its own file is bad, which is tinyci's."""
    SERVICE_MISCONFIGURED = "*/misconfigured"
    """A drop-in or a file of somebody else's is bad."""
    SERVICE_FAILED = "*/failed"
    SERVICE_DOWN = "*/down"
    SERVICE_CRASHES = "*/crashes"
    """It fails at every start."""
    SERVICE_STARTS = "*/starts"
    """It is on its way up."""
    SERVICE_DISABLED = "*-enabled/disabled"

    # Of the host.
    FILES_MISSING = "files/missing"
    FILES_CLOSED = "files-rights/closed"
    CODE_MISSING = "code/missing"
    LIBRARIES_MISSING = "libraries/missing"
    ACCOUNTS_MISSING = "accounts/missing"
    CONFIGURATION_INVALID = "configuration/invalid"
    CONFIGURATION_NO_REPOS = "configuration-rights/no-repos"
    CONFIGURATION_WRITABLE = "configuration-rights/writable"
    CONFIGURATION_UNREADABLE = "configuration-rights/unreadable"
    SYSTEM_BUS_UNREACHABLE = "system-bus/unreachable"
    JOURNAL_LIMIT_LIFTED = "journal-limit/lifted"
    SPACE_BYTES = "space/bytes"
    SPACE_INODES = "space/inodes"
    SPOOL_MISSING = "spool/missing"
    SPOOL_NO_DIRECTORY = "spool/no-directory"
    SPOOL_RIGHTS = "spool/rights"
    SPOOL_LATE = "spool-backlog/late"
    SPOOL_NO_JOBS = "spool-backlog/no-jobs"

    REDIS_SILENT = "redis/silent"
    REDIS_UNREACHABLE = "redis/unreachable"
    """Another Redis than tinyci's own, by the configuration."""
    REDIS_PASSWORD_MISSING = "redis-password-*/missing"
    REDIS_PASSWORD_RIGHTS = "redis-password-*/rights"
    REDIS_ACL_LOGIN = "redis-acl-*/login"
    REDIS_ACL_DENIES = "redis-acl-*/denies"
    REDIS_ACL_GRANTS = "redis-acl-*/grants"
    REDIS_PERSISTENCE_OFF = "redis-persistence/off"
    REDIS_PERSISTENCE_FULL = "redis-persistence/full"
    REDIS_MEMORY_EVICTS = "redis-memory/evicts"
    REDIS_MEMORY_FULL = "redis-memory/full"

    POLKIT_SILENT = "polkit/silent"
    POLKIT_ACTIONS_UNKNOWN = "polkit-actions/unknown"
    POLKIT_RULES_DENY = "polkit-rules/deny"
    POLKIT_RULES_GRANT = "polkit-rules/grant"
    POLKIT_RULES_OVERRULED = "polkit-rules/overruled"
    """tinyci's rules are as they were installed, and another file grants more."""

    BUS_DENIED = "bus/denied"
    BUS_NOT_OWNED = "bus/not-owned"
    BUS_SILENT = "bus/silent"
    QUEUE_PAUSED = "queue/paused"

    # Found by the daemon itself.
    DAEMON_REDIS_SILENT = "daemon-redis/silent"
    DAEMON_JOURNAL_UNREADABLE = "daemon-journal/unreadable"
    DAEMON_POLKIT_SILENT = "daemon-polkit/silent"
    DAEMON_SPOOL_CLOSED = "daemon-spool/closed"
    DAEMON_CONFIGURATION_INVALID = "daemon-configuration/invalid"
    DAEMON_CONFIGURATION_CHANGED = "daemon-configuration/changed"
    DAEMON_CONFIGURATION_REPO_INVALID = "daemon-configuration/repo-invalid"
    DAEMON_CONFIGURATION_REPO_UNKNOWN = "daemon-configuration/repo-unknown"
    DAEMON_MANAGER_UNREACHABLE = "daemon-manager/unreachable"
    DAEMON_UNIT_UNUSABLE = "daemon-unit/unusable"

    # Of a user.
    USER_MISSING = "user/missing"
    HOME_MISSING = "home/missing"
    HOME_RIGHTS = "home/rights"
    HOME_NO_DIRECTORY = "home/no-directory"
    LINGER_OFF = "linger/off"
    SUBORDINATE_IDS_MISSING = "subordinate-ids/missing"
    MANAGER_HANGS = "manager/hangs"
    RUNTIME_DIRECTORY_MISSING = "runtime-directory/missing"
    RUNTIME_DIRECTORY_NO_PACKAGE = "runtime-directory/no-package"
    RUNTIME_DIRECTORY_NO_BUS = "runtime-directory/no-bus"
    PODMAN_NOT_INSTALLED = "podman/not-installed"
    PODMAN_FOREIGN_STORAGE = "podman/foreign-storage"
    PODMAN_NO_ID_MAPS = "podman/no-id-maps"
    PODMAN_PAUSE_PROCESS = "podman/pause-process"
    PODMAN_FAILS = "podman/fails"
    STAGES_CLOSED = "stages/closed"
    STAGES_FAIL = "stages/fail"
    GATE_NO_PROXY = "gate/no-proxy"
    GATE_FILTER_NONE = "gate-filter/none"
    GATE_FILTER_WIDE = "gate-filter/wide"
    GATE_FILTER_NARROW = "gate-filter/narrow"
    GATE_TRIED_CLOSED = "gate-tried/closed"
    GATE_TRIED_SILENT = "gate-tried/silent"
    GATE_TRIED_DENIES = "gate-tried/denies"
    GATE_TRIED_GRANTS = "gate-tried/grants"
    JOURNAL_RATE_LOW = "journal-rate/low"
    JOURNAL_RATE_NO_DROP_IN = "journal-rate/no-drop-in"
    JOURNAL_RATE_NOT_APPLIED = "journal-rate/not-applied"
    """It is configured high enough, and journald does not know of that yet."""
    JOURNAL_RATE_ROOT_LOW = "journal-rate/root-low"

    # Of a repo.
    GIT_NOT_INSTALLED = "git/not-installed"
    REPOSITORY_MISSING = "repository/missing"
    REPOSITORY_BROKEN = "repository/broken"
    REPOSITORY_UNREADABLE = "repository-readable/unreadable"
    REPOSITORY_OPEN = "repository-private/open"
    REPOSITORY_FOREIGN = "repository-owned/foreign"
    PUSH_GROUPS_MISSING = "push-groups/missing"
    PUSH_SHELL_REFUSES = "push-shell/refuses"
    PUSH_SHELL_MISSING = "push-shell/missing"
    PUSH_SSH_REFUSES = "push-ssh/refuses"
    PUSH_SSH_LOCKED = "push-ssh/locked"
    PUSH_SSH_KEYS_ELSEWHERE = "push-ssh/keys-elsewhere"
    PUSH_OPTIONS_OFF = "push-options/off"
    HOOK_FOREIGN = "hook/foreign"
    HOOK_MISSING = "hook-runs/missing"
    HOOK_NOT_EXECUTABLE = "hook-runs/not-executable"
    HOOK_CLOSED = "hook-runs/closed"
    HOOK_FAILS = "hook-runs/fails"
    HOOK_COMPLAINS = "hook-runs/complains"
    TEMPLATES_MASKED = "templates/masked"
    TEMPLATES_UNKNOWN = "templates/unknown"
    TEMPLATES_UNLOADABLE = "templates/unloadable"
    TEMPLATES_MISCONFIGURED = "templates/misconfigured"
    TEMPLATES_CHANGED = "templates/changed"
    STAGE_LIMIT_SHORT = "*-limit/short"
    UNIT_MASKED = "unit/masked"
    UNIT_MISSING = "unit/missing"
    UNIT_NOT_GENERATED = "unit/not-generated"
    UNIT_NOT_READ = "unit/not-read"
    UNIT_UNLOADABLE = "unit/unloadable"
    UNIT_CHANGED = "unit/changed"
    UNIT_OF_SYSTEM = "unit/of-system"
    """The system's manager has it, and not the one of the repo's user."""
    UNIT_WITHOUT_IMAGES = "unit/without-images"
    """A unit of root's that runs podman as somebody who does not have root's images."""
    UNIT_CONTAINERS_UNKNOWN = "unit-containers/unknown"
    UNIT_UNLISTED = "unit-listed/unlisted"

    def key(self, name: str = "") -> str:
        """The key of the problem, of the check with that name."""
        return self.replace("*", name)

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of the problem: several where the check has a `*`."""
        names = _NAMES.get(self.partition("/")[0], ("",))
        return tuple(self.key(name) for name in names)


_NAMES: Mapping[str, tuple[str, ...]] = {
    "*": SERVICES,
    "*-enabled": ("redis", "daemon", "gate"),
    "*-limit": STAGES,
    "redis-password-*": REDIS_USERS,
    "redis-acl-*": REDIS_USERS,
}


def check_of(key: str) -> str:
    """The name of the check in a key."""
    return key.partition("/")[0]
