"""From a bare server to three apps that answer, and what comes after that. One server, and one story: in this order."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import byhand
import pytest
from person import SSH_PORT, Person
from testhost import TREE, TestHost, Work

Clone = Callable[[str], Work]

APPS = {
    # name: the URL that the inventory gives it
    "hello-quadlet": ("quadlet.example.org", "/"),
    "hello-generated": ("generated.example.org", "/"),
    "hello-root": ("server.example.org", "/root/"),
}
ROLES = ["ssh", "admin", "firewall", "nginx", "podman", "redis", "just", "tinyci", "web", "notify"]
SECRET = "open sesame"
# Who may see the pages: by a password in the vault, and by what `openssl passwd -6` prints of one.
ANN, BOB = "ann:swordfish", "bob:no way"
BOBS_HASH = "$6$7sZzNS2gKqhq9lZx$p1bGmLaucpTbGi8LdKTRYujzDNpf/31zCsRM.zVNyTHNGFzO1XZegRYi9Qd8kF9/xsqH/49ge.aCZaNwUW5DN0"
PAGES = "ci.example.org"
ASK = "python3 -"
ASK_HEALTH = """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/tinyci-web/socket")
connection.sendall(b"GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n")
print(connection.makefile().read(), end="")
"""


def files_of_the_tree() -> bytes:
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=TREE, capture_output=True, check=True
    ).stdout
    return subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=TREE, input=names, capture_output=True, check=True
    ).stdout


def make_key(person: Person) -> str:
    """Make a key of Gina's, who pushes to hello-generated alone."""
    path = person.inventory.parent / "gina"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gina@laptop", "-f", path]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text().strip()


def ask_as_gina(person: Person, repo: str) -> str:
    """Return what a fetch with Gina's key begins with, or why there is none."""
    config = person.inventory.parent / "gina.ssh"  # without the person's key
    config.write_text(
        re.sub("IdentityFile .*", f"IdentityFile {config.with_suffix('')}", person.ssh_config.read_text())
    )
    command = ["ssh", "-F", config, "-o", "ControlPath=none", "-l", "git", person.server.name]
    command.append(f"git-upload-pack '/srv/git/{repo}.git'")
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return result.stdout + result.stderr


def recaps(text: str) -> list[str]:
    return re.findall(r"ok=\d+ +changed=(\d+)", text)


def test_check_mode_says_what_would_be_done_and_does_nothing(person: Person) -> None:
    missing = "for it in podman redis-server nginx git nft tinyci; do if command -v $it; then exit 1; fi; done"
    person.server.sh(missing)
    output = person.run_playbooks("--check", "--diff")
    assert "+repository = " in output, "the difference to nothing"
    person.server.sh(missing)
    person.server.sh("for user in git hello-quadlet tinyci; do if id $user; then exit 1; fi; done")
    person.server.sh("for it in /etc/tinyci /opt/tinyci /srv/git /etc/nginx; do if test -e $it; then exit 1; fi; done")


def test_two_playbooks_and_a_push(person: Person, work: Clone) -> None:
    """On the server itself (`-c local`), as an admin who came in by SSH, and who stays in."""
    person.change(
        "group_vars/all.yml",
        "    units: [hello-quadlet.service]\n",
        '    units: [hello-quadlet.service]\n    secrets: {hello-word: "{{ hello_word }}"}\n',
    )
    key = make_key(person)
    generated = "    units: [container-hello-generated.service]\n"
    person.change("group_vars/all.yml", generated, f"{generated}    authorized_keys: [{key}]\n")
    person.change("files/hello-quadlet.container", "[Container]\n", "[Container]\nSecret=hello-word\n")
    person.change(
        "group_vars/all.yml",
        "\napps:\n",
        f'\nweb_server_name: {PAGES}\nweb_users: {{ann: "{{{{ web_password }}}}", bob: {BOBS_HASH}}}\n\napps:\n',
    )
    (person.inventory / "group_vars" / "server.yml").write_text(
        person.encrypt("hello_word", SECRET) + person.encrypt("web_password", ANN.split(":")[1])
    )
    connection = person.open_connection()
    assert connection.stdin
    assert connection.stdout

    begin = time.monotonic()
    person.ssh("sudo apt-get -qq install --yes --no-install-recommends ansible-core python3-hatchling")
    person.ssh("mkdir tinyci && tar -C tinyci --extract", stdin=files_of_the_tree())
    pack = ["tar", "--create", "inventory", "vault-password", ".ssh"]
    ssh = person.vault_password.parent / ".ssh"
    ssh.mkdir()
    shutil.copy(person.public_key, ssh / "id_ed25519.pub")
    archive = subprocess.run(pack, cwd=ssh.parent, capture_output=True, check=True).stdout
    person.ssh("sudo tar -C /root --extract", stdin=archive)
    print(f"{time.monotonic() - begin:.0f} s for Ansible on the server")
    for playbook in ("server.yml", "apps.yml"):
        begin = time.monotonic()
        output = person.ssh(
            "cd tinyci/ansible && sudo ansible-playbook -c local -i /root/inventory/hosts.yml "
            f"--vault-password-file /root/vault-password {playbook}"
        )
        assert len(recaps(output)) == 1, output
        assert recaps(output) != ["0"], output
        assert SECRET not in output
        assert ANN.split(":")[1] not in output
        print(f"{time.monotonic() - begin:.0f} s for {playbook}")
    connection.stdin.write(b"still here\n")
    connection.stdin.flush()
    assert connection.stdout.readline() == b"still here\n", "the connection that was open before the firewall"
    connection.stdin.close()
    assert connection.wait(timeout=60) == 0

    begin = time.monotonic()
    job = person.server.deploy(work("hello-quadlet"))
    assert job["state"] == "succeeded", job
    print(f"{time.monotonic() - begin:.1f} s from the first push to its end")
    read = "podman exec hello-quadlet /bin/busybox cat /run/secrets/hello-word"
    assert person.server.as_manager("hello-quadlet", read) == SECRET


def test_the_apps_answer_through_nginx(person: Person, work: Clone) -> None:
    for app in ("hello-generated", "hello-root"):
        job = person.server.deploy(work(app))
        assert job["state"] == "succeeded", job
    for app, (name, path) in APPS.items():
        assert person.network.get(name, path) == f"200 Hello from {app}.\n"
    assert person.network.get("elsewhere.example.org").startswith("404 ")


def test_a_key_of_one_app_reaches_that_app_alone(person: Person) -> None:
    assert "refs/heads/master" in ask_as_gina(person, "hello-generated")
    assert "the key of gina@laptop is not for /srv/git/hello-quadlet.git" in ask_as_gina(person, "hello-quadlet")


def test_the_pages_are_shown_by_name_to_who_has_a_password(person: Person) -> None:
    for user in (ANN, BOB):
        page = person.network.get(PAGES, user=user)
        assert page.startswith("200 ")
        assert "hello-quadlet" in page
    for user in ("", "ann:no way", "carol:swordfish"):
        assert person.network.get(PAGES, user=user).startswith("401 ")
    for path in ("/metrics", "/%6detrics", "//healthz"):
        assert person.network.get(PAGES, path, user=ANN).startswith("403 ")
    assert person.server.sh(ASK, stdin=ASK_HEALTH).endswith("Redis answers.\n")
    assert person.network.get("elsewhere.example.org", "/metrics").startswith("404 ")
    for user in ("nobody", "hello-quadlet"):
        assert "PermissionError" in person.server.run(ASK, user, stdin=ASK_HEALTH).text
        assert "refused" in person.server.run("exec 3<>/dev/tcp/127.0.0.1/8190", user).text
    assert person.server.sh("stat -c '%U %G %a' /etc/nginx/tinyci-web.users") == "root www-data 640\n"
    assert person.server.sh("grep url /etc/tinyci/tinyci.toml") == f'url = "http://{PAGES}/"\n'


def test_nobody_is_told_who_was_not_asked_for(person: Person) -> None:
    assert person.server.sh("systemctl is-enabled tinyci-notify || true") == "disabled\n"
    assert person.server.sh("systemctl list-units --failed --plain --no-legend") == ""


def test_other_ports_are_closed(person: Person) -> None:
    listening = {int(port) for port in person.server.sh("ss -Hltn | sed 's/ *[^ ]*$//; s/.*://'").split()}
    assert {80, 2222, 8081, 8082} <= listening, listening
    ports = listening | {8083}  # which podman publishes for root by a rule instead
    assert {port for port in ports if person.network.is_open(port)} == {80, 2222}
    # It is the firewall that closes them.
    person.server.sh("nft delete table inet firewall")
    assert {port for port in (8081, 8082, 8083) if person.network.is_open(port)} == {8081, 8082, 8083}
    person.server.sh("systemctl reload nftables")
    assert not any(person.network.is_open(port) for port in (8081, 8082, 8083))


def test_a_reboot_brings_all_back_with_nobody_logged_in(person: Person, work: Clone) -> None:
    person.reboot()
    for user, unit in (
        ("hello-quadlet", "hello-quadlet.service"),
        ("hello-generated", "container-hello-generated.service"),
        ("root", "hello-root.service"),
    ):
        manager = "" if user == "root" else f"--user -M {user}@"
        person.server.sh(f"timeout 90 sh -c 'until systemctl {manager} is-active --quiet {unit}; do sleep 0.2; done'")
    sessions = person.server.sh("loginctl list-sessions --no-legend")
    assert all("manager" in session for session in sessions.splitlines()), sessions
    for app, (name, path) in APPS.items():
        assert person.network.get(name, path) == f"200 Hello from {app}.\n"
    assert person.network.get(PAGES, user=ANN).startswith("200 ")
    assert not person.network.is_open(8081)
    work("hello-root").commit({"www/index.html": "After the reboot.\n"})
    assert person.server.deploy(work("hello-root"))["state"] == "succeeded"
    assert person.network.get(*APPS["hello-root"]) == "200 After the reboot.\n"


@dataclass
class Change:
    """A second run of both playbooks after many changes, and the state before it."""

    output: str
    job: str
    """Of hello-quadlet, whose build waited all the while."""
    daemon: str
    by_hand: tuple[str, str]


def by_hand(server: TestHost) -> tuple[str, str]:
    file = f"~{byhand.USER}/.config/systemd/user/{byhand.UNIT}"
    return server.show(byhand.USER, byhand.UNIT, "InvocationID"), server.sh(f"sha256sum {file}")


@pytest.fixture(scope="module")
def change(person: Person, work: Clone, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """From elsewhere, over SSH, while a job runs: a new version; an app goes; one that was made by hand comes; one gets
    a certificate; another port opens; passwords let nobody in any more."""
    server = person.server
    byhand.make(server)
    before = by_hand(server)
    server.sh(
        "cd /etc/ssl && openssl req -quiet -x509 -newkey rsa:2048 -nodes -subj /CN=quadlet.example.org "
        "-keyout private/quadlet.key -out certs/quadlet.crt"
    )
    new = tmp_path_factory.mktemp("new")
    subprocess.run(["tar", "--extract"], cwd=new, input=files_of_the_tree(), check=True)
    for file, line in (("pyproject.toml", "version"), ("daemon/tinyci/__init__.py", "__version__")):
        path = new / file
        path.write_text(re.sub(f'^{line} = ".*"', f'{line} = "99.0"', path.read_text(), flags=re.M))
    variables = "group_vars/all.yml"
    person.change(variables, "  - name: hello-generated\n", "  - name: hello-generated\n    state: absent\n")
    person.change(
        variables,
        "apps:\n",
        "ssh_password_login: false\nfirewall_tcp_ports: [80, 443, 8083]\n\napps:\n"
        f"  - {{name: by-hand, user: {byhand.USER}, units: [{byhand.UNIT}]}}\n",
    )
    person.change(
        variables,
        "    server_names: [quadlet.example.org]\n",
        "    server_names: [quadlet.example.org]\n    certificate: /etc/ssl/certs/quadlet.crt\n"
        "    certificate_key: /etc/ssl/private/quadlet.key\n",
    )

    clone = work("hello-quadlet")
    script = (clone.path / "ci-build.sh").read_text()
    server.fifo("/tmp/upgraded")
    clone.commit({"ci-build.sh": script + "timeout 900 cat /tmp/upgraded\n", "www/index.html": "During an upgrade.\n"})
    job = server.push(clone).job
    server.wait(job, ("building",))
    daemon = server.sh("systemctl show -P MainPID tinyci")
    begin = time.monotonic()
    output = person.run_playbooks("-e", f"tinyci_source={new}")
    print(f"{time.monotonic() - begin:.0f} s for both playbooks, over SSH, with a new version")
    return Change(output, job, daemon, before)


def test_a_new_version_loses_no_running_job(person: Person, change: Change) -> None:
    server = person.server
    version = "busctl get-property org.tinyci1 /org/tinyci1 org.tinyci1.Manager Version"
    assert server.sh(version) == 's "99.0"\n'
    assert server.sh("systemctl show -P MainPID tinyci") != change.daemon
    assert "tinyci 99.0 " in person.network.get(PAGES, user=ANN)
    assert server.job(change.job)["state"] == "building"
    server.sh("echo >/tmp/upgraded")
    outcome = server.wait(change.job)
    assert (outcome["state"], outcome["success"], outcome["attempt"]) == ("succeeded", "true", "1"), outcome
    assert person.network.get(*APPS["hello-quadlet"], tls=True) == "200 During an upgrade.\n"
    assert person.network.get(*APPS["hello-quadlet"]).startswith("301 ")


def test_an_app_that_goes_leaves_its_data(person: Person, work: Clone, change: Change) -> None:
    """It went while another app's job ran."""
    server = person.server
    assert "hello-generated is not deployed any more. Left as they are" in change.output
    assert person.network.get(*APPS["hello-generated"]).startswith("404 ")
    work("hello-generated").commit({"www/index.html": "Never seen.\n"})
    push = server.push(work("hello-generated"))
    assert push.jobs == []
    assert "no job" in push.text
    assert server.systemctl("hello-generated", "is-active container-hello-generated").out == "inactive\n"
    assert server.run("systemctl is-enabled tinyci-gate@$(id -u hello-generated)").out == "disabled\n"
    assert "localhost/hello-generated" in server.as_manager("hello-generated", "podman images")
    server.sh("test -e /srv/git/hello-generated.git/HEAD && test -d ~hello-generated/.local/share/containers")
    assert "Permission denied (publickey)" in ask_as_gina(person, "hello-generated")
    server.sh("! test -e /etc/systemd/system/user@$(id -u hello-generated).service.d/50-tinyci.conf")
    server.sh("! test -e /etc/tinyci/units/hello-generated && ! test -e /etc/nginx/sites-enabled/hello-generated.conf")


def test_what_was_made_by_hand_is_adopted(person: Person, change: Change, tmp_path: Path) -> None:
    server = person.server
    assert change.by_hand == by_hand(server), "the same unit, and not restarted"
    assert "not run any more: hooks/post-receive" in change.output
    assert server.get(f"http://127.0.0.1:{byhand.PORT}/") == byhand.PAGE
    assert server.sh(f"git -C {byhand.REPOSITORY} log --format=%s", "git") == "First\n"
    clone = Work(tmp_path / "by-hand", "by-hand")
    clone.commit({"Containerfile": byhand.CONTAINERFILE, "ci-build.sh": byhand.SCRIPT, "www/index.html": "Pushed.\n"})
    push = server.push(clone)
    assert "the old hook" not in push.text
    assert server.wait(push.job)["state"] == "succeeded"
    assert server.get(f"http://127.0.0.1:{byhand.PORT}/") == "Pushed.\n"
    assert server.sh("tinyci doctor by-hand")  # which ends with another status where it finds a fault


def test_what_the_inventory_says_of_the_server_is_so(person: Person, change: Change) -> None:
    assert "passwordauthentication no" in person.server.sh("sshd -T").lower().splitlines()
    assert person.network.is_open(8083)
    assert not person.network.is_open(8081)


def test_a_second_run_of_the_apps_changes_nothing(person: Person, change: Change) -> None:
    """That of the server is tests/host/test_playbooks.py's."""
    output = person.run_playbooks("-e", json.dumps({"server_without": ROLES}))
    assert recaps(output) == ["0", "0"], output


def test_a_firewall_that_locks_out_is_taken_away_again(person: Person) -> None:
    """Its rules in a state that they should never be in: the port of SSH is not among them."""
    wrong = {
        "server_without": [role for role in ROLES if role != "firewall"],
        "firewall_revert_after": "4s",
        "firewall_ssh": {"stdout": "1", "stdout_lines": ["1"]},
    }
    output = person.run_playbooks("-e", json.dumps(wrong), fails=True)
    assert "TASK [firewall : Come back by a new connection]" in output
    assert person.network.is_open(SSH_PORT)
    assert person.server.sh("systemctl is-enabled nftables || true") == "disabled\n"
    assert person.server.run("nft list table inet firewall").status != 0
