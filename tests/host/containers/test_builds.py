"""A build is judged by what its units run next, and by nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from app import SCRIPT, App
from ways import home, quadlet, quadlet_directory, quadlets_of


@contextmanager
def settled(app: App) -> Iterator[None]:
    with app.server.repo_file(app.name, settle='"1s"'):
        yield


def test_a_helper_image_is_no_mistake(app: App) -> None:
    """Whether it is built first, is a stage of the same file, or is loaded from somewhere."""
    build = SCRIPT.format(name=app.name)
    helper = "printf 'FROM scratch\\nCOPY busybox /b\\n' >Helper\n"
    helper += f"podman build --tag {app.name}-test:$1 --label r=$1 --file Helper .\n"
    loaded = f"podman save {app.name}-test:$1 >t.tar; podman rmi {app.name}-test:$1; podman load -i t.tar\n"
    with settled(app):
        image = app.deploy_good()
        app.work.commit({"README.md": "docs only\n", "ci-build.sh": build + helper + loaded})
        job = app.server.deploy(app.work)
        assert (job["state"], job["success"]) == ("unchanged", "true"), job
        assert app.image() == image
        app.work.commit({"www/index.html": "better\n"})
        job = app.server.deploy(app.work)
        assert (job["state"], app.answer()) == ("succeeded", "better\n"), job
        app.podman(f"rmi --force $(podman images -q {app.name}-test)")


def test_a_site_that_a_build_renders_is_served(rootless: App) -> None:
    """The image that the build makes is not the one that the unit runs."""
    site = f"{home(rootless)}/site"
    server = f"Volume={site}:/www:ro\nExec=/bin/busybox httpd -f -p {rootless.inner_port} -h /www"
    rootless.podman(f"tag {rootless.name}:latest httpd:latest")
    rootless.server.as_manager(rootless.user, f"mkdir -p {site}")
    script = SCRIPT.format(name="site-builder")
    script += f"podman run --rm -v {site}:/out site-builder /bin/busybox cp /www/index.html /out/\n"
    try:
        with quadlets_of(rootless, container=quadlet(rootless, "localhost/httpd:latest", server)), settled(rootless):
            for content in ("rendered\n", "rendered again\n", "and again\n"):
                rootless.commit({"www/index.html": content, "ci-build.sh": script})
                job = rootless.server.deploy(rootless.work)
                assert (job["state"], rootless.answer()) == ("succeeded", content), job
            rootless.commit({"README.md": "a word\n"})
            script = script.partition("podman run")[0]
            rootless.work.commit({"ci-build.sh": script})
            job = rootless.server.deploy(rootless.work)
            assert (job["state"], rootless.answer()) == ("unchanged", content), job
    finally:
        rootless.podman("rmi --force httpd site-builder")
        rootless.server.sh(f"rm -r {site}")


def test_two_repos_of_one_repository_and_user_are_judged_by_their_own_images(rootless: App) -> None:
    """Both build at each push, and one of them makes nothing new."""
    name, server = rootless.name, rootless.server
    unit = (
        "[Service]\nExecStart=/usr/bin/podman run --rm --replace --name api localhost/api:latest\nTimeoutStopSec=3s\n"
    )
    directory = f"{home(rootless)}/.config/systemd/user"
    server.as_manager(rootless.user, f"mkdir -p {directory}; cat >{directory}/api.service <<'END'\n{unit}END\n")
    server.sh(rootless.systemctl("daemon-reload"))
    keys = f'repository = "/srv/git/{name}.git"\nuser = "{rootless.user}"\nunits = ["api.service"]\n'
    keys += 'script = "api/ci-build.sh"\nsettle = "1s"\nrefs = ["refs/heads/*"]\n'
    other = "#!/bin/sh\nset -eu\ncp /usr/bin/busybox api/busybox\npodman build --tag api:latest --tag api:$1 api\n"
    command = "trap 'exit 0' TERM; while :; do /bin/busybox sleep 1; done"
    containerfile = f'FROM scratch\nCOPY busybox version /bin/\nCMD ["/bin/busybox", "sh", "-c", "{command}"]\n'
    try:
        with settled(rootless):
            rootless.deploy_good()
            server.sh("cat >/etc/tinyci/repos.d/api.toml; systemctl reload tinyci", stdin=keys)
            rootless.commit({"api/ci-build.sh": other, "api/Containerfile": containerfile, "api/version": "1\n"})
            server.push(rootless.work)
            pushes = [server.push(rootless.work.commit({"api/version": f"{n}\n"}) and rootless.work) for n in (2, 3)]
            jobs = {job: server.wait(job) for push in pushes for job in push.jobs}
    finally:
        server.sh(f"rm /etc/tinyci/repos.d/api.toml; systemctl reload tinyci; {rootless.systemctl('stop api')}; true")
        server.sh(f"rm {directory}/api.service; {rootless.systemctl('daemon-reload')}")
        rootless.podman("rmi --force --ignore api:latest")
    states = {(job["repo"], job["state"]) for job in jobs.values()}
    assert states <= {("api", "succeeded"), ("api", "superseded"), (name, "unchanged"), (name, "superseded")}, jobs
    assert {("api", "succeeded"), (name, "unchanged")} <= states, jobs


def test_a_tag_for_each_revision_in_a_quadlet_that_the_script_writes(app: App) -> None:
    """A version that fails leaves the Quadlet of the one before, for the next crash or reboot as well."""
    path = f"{quadlet_directory(app)}/{app.name}.container"
    script = f"#!/bin/sh\nset -eu\ncp /usr/bin/busybox busybox\npodman build --tag {app.name}:$1 .\n"
    script += f'sed "s/@TAG@/$1/" unit.in >{path}\n'
    text = quadlet(app, f"localhost/{app.name}:@TAG@")
    with quadlets_of(app, container=quadlet(app)), settled(app):
        for content in ("one\n", "two\n"):
            revision = app.commit({"www/index.html": content, "ci-build.sh": script, "unit.in": text})
            job = app.server.deploy(app.work)
            assert (job["state"], app.answer()) == ("succeeded", content), job
        bad = app.commit({"ci-build.sh": script}, command="exit 1")
        job = app.server.deploy(app.work)
        assert job["state"] == "rolled-back", job
        assert app.answer() == "two\n"
        assert revision in app.server.sh(f"cat {path}")
        assert bad not in app.server.show(app.user, app.unit, "ExecStart")
        app.podman(
            f"rmi --force $(podman images --format '{{{{.ID}}}}' --filter reference='{app.name}:*' | sort -u) || true"
        )


def test_a_quadlet_that_changed_on_disk_is_read_before_the_restart(app: App) -> None:
    path = f"{quadlet_directory(app)}/{app.name}.container"
    script = SCRIPT.format(name=app.name) + f"cp unit.container {path}\n"
    with quadlets_of(app, container=quadlet(app)), settled(app):
        app.deploy_good()
        app.work.commit({"ci-build.sh": script, "unit.container": quadlet(app, more="Environment=NEW=yes")})
        job = app.server.deploy(app.work)
        assert job["state"] == "succeeded", job
        assert "NEW=yes" in app.podman(f"exec {app.name} /bin/busybox env")


def test_an_image_that_is_renamed_in_unit_and_script_together_is_a_deploy(app: App) -> None:
    path = f"{quadlet_directory(app)}/{app.name}.container"
    script = SCRIPT.format(name="renamed") + f"cp unit.container {path}\n"
    with quadlets_of(app, container=quadlet(app)), settled(app):
        app.deploy_good()
        text = quadlet(app, "localhost/renamed:latest")
        app.commit({"www/index.html": "renamed\n", "ci-build.sh": script, "unit.container": text})
        job = app.server.deploy(app.work)
        assert (job["state"], app.answer()) == ("succeeded", "renamed\n"), job
    app.podman("rmi --force renamed")


def test_a_manifest_list_stands_for_its_image_for_this_machine(rootless: App) -> None:
    name = rootless.name
    script = f"#!/bin/sh\nset -eu\ncp /usr/bin/busybox busybox\npodman rmi -f -i {name}:latest\n"
    script += f"podman manifest rm {name}:latest || true\npodman build --manifest {name}:latest .\n"
    with settled(rootless):
        for content in ("of a list\n", "of another list\n"):
            rootless.commit({"www/index.html": content, "ci-build.sh": script})
            job = rootless.server.deploy(rootless.work)
            assert (job["state"], rootless.answer()) == ("succeeded", content), job
    rootless.podman(f"manifest rm {name}:latest")


def test_a_script_that_prunes_what_it_built_is_told(rootless: App) -> None:
    with settled(rootless):
        image = rootless.deploy_good()
        rootless.commit({"www/index.html": "pruned\n"})
        script = SCRIPT.format(name=rootless.name) + "podman image prune --all --force\n"
        rootless.work.commit({"ci-build.sh": script})
        job = rootless.server.deploy(rootless.work)
        assert job["state"] == "failed", job
        assert f"the build removed localhost/{rootless.name}:latest" in job["reason"], job
        assert "leave out --all" in job["reason"]
        assert rootless.image() == image
        assert rootless.podman(f"image inspect --format '{{{{.Id}}}}' {rootless.name}:latest").strip() == image


def test_a_build_that_fails_leaves_no_name_moved(app: App) -> None:
    """Whether it says so, is cancelled, or is killed: what was not deployed does not run after the next crash."""
    endings = {"false\n": "failed", "echo built; sleep 600\n": "cancelled", "kill -KILL $PPID; sleep 600\n": "failed"}
    with settled(app):
        image = app.deploy_good()
        for number, (ending, state) in enumerate(endings.items()):
            script = SCRIPT.format(name=app.name) + ending
            app.work.commit({"www/index.html": f"never deployed {number}\n", "ci-build.sh": script})
            push = app.server.push(app.work)
            if state == "cancelled":
                app.server.sh(f"until tinyci log {push.job} | grep -q '^built'; do sleep 0.2; done", limit=60)
                app.server.sh(f"tinyci cancel {push.job}")
            assert app.server.wait(push.job)["state"] == state
            assert app.podman(f"image inspect --format '{{{{.Id}}}}' {app.name}:latest").strip() == image, ending
        app.server.sh(app.systemctl(f"restart {app.unit}"))
        assert app.image() == image
