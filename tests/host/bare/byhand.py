"""An app as people ran it before: a user's unit of `podman generate systemd`, a repository and a hook of their own."""

from testhost import TREE, TestHost

USER, UNIT, PORT = "fred", "container-by-hand.service", 8090
REPOSITORY = "/srv/git/by-hand.git"
PAGE = "Made by hand.\n"

CONTAINERFILE = f"""FROM scratch
COPY busybox /bin/busybox
COPY www /www
CMD ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; /bin/busybox httpd -f -p {PORT} -h /www & wait"]
"""
SCRIPT = "#!/bin/sh\nset -eu\ncp /usr/bin/busybox busybox\npodman build --tag by-hand:latest .\n"


def make(server: TestHost) -> None:
    """Set it up, and leave it running."""
    unit = (TREE / "ansible/example/files/container-hello-generated.service").read_text()
    server.sh(
        f"useradd --create-home {USER} && loginctl enable-linger {USER}\n"
        f"timeout 60 sh -c 'until systemctl --user -M {USER}@ is-system-running --quiet --wait; do sleep 0.1; done'\n"
        f"mkdir {REPOSITORY} && chown {USER}: {REPOSITORY}"
    )
    server.as_manager(
        USER,
        "mkdir -p ~/app/www ~/.config/systemd/user && cd ~/app && git init --quiet --initial-branch=master . && "
        f"printf %s '{quoted(CONTAINERFILE)}' >Containerfile && printf %s '{quoted(PAGE)}' >www/index.html && "
        f"printf %s '{quoted(SCRIPT)}' >ci-build.sh && chmod +x ci-build.sh && echo /busybox >.gitignore && "
        "git add . && git -c user.name=Fred -c user.email=fred@example.org commit --quiet --message First && "
        f"git init --quiet --bare --initial-branch=master {REPOSITORY} && git push --quiet {REPOSITORY} master && "
        f"printf '#!/bin/sh\\necho the old hook\\n' >{REPOSITORY}/hooks/post-receive && "
        f"chmod +x {REPOSITORY}/hooks/post-receive && ./ci-build.sh && "
        f"printf %s '{quoted(unit.replace('hello-generated', 'by-hand'))}' >~/.config/systemd/user/{UNIT} && "
        f"systemctl --user daemon-reload && systemctl --user enable --now {UNIT}",
    )


def quoted(text: str) -> str:
    return text.replace("'", "'\\''")
