"""Breakages of the unit of an app that a Quadlet makes.

In the scripts $name, $unit, $quadlet, $drop_ins and $systemctl are the app's.
"""

from breaking import Breakage

TOML = "/etc/tinyci/repos.d/$name.toml"
RULES = "/etc/polkit-1/rules.d/40-tinyci-$name.rules"
POLKIT = "systemctl reset-failed polkit; systemctl restart polkit"
RELOAD = "$systemctl daemon-reload"

# A command mends these.
MENDABLE = (
    Breakage("unit/masked", "is masked", "$systemctl mask -q $unit", f"$systemctl unmask -q $unit; {RELOAD}"),
    Breakage("unit/changed", "has changed on disk", "touch -d '+1 minute' $quadlet", f"touch $quadlet; {RELOAD}"),
    Breakage(
        "unit/not-read",
        "was not read",
        f"$systemctl stop $unit; mv $quadlet /run/kept && {RELOAD}; mv /run/kept $quadlet",
        RELOAD,
    ),
)
# A person has to correct these.
UNDECIDED = (
    Breakage(
        "unit/not-generated",
        " comes of ",
        f"cp -a $quadlet /run/kept && sed -i 's/^Image=/Imagee=/' $quadlet && {RELOAD}",
        f"mv /run/kept $quadlet; {RELOAD}",
        subject_words="unsupported key 'Imagee'",
    ),
    Breakage(
        "unit/unloadable",
        "cannot be loaded",
        f"mkdir -p $drop_ins && printf '[Service]\\nExecStart=\\n' >$drop_ins/doctor.conf && {RELOAD}",
        f"rm -r $drop_ins; {RELOAD}",
    ),
    Breakage(
        "unit-containers/unknown",
        "starts docker",
        "mkdir -p $drop_ins && printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/docker run x\\n' "
        f">$drop_ins/doctor.conf && {RELOAD}",
        f"rm -r $drop_ins; {RELOAD}",
    ),
    Breakage(
        "unit/missing",
        "there is no unit",
        f"cp -a {TOML} /run/kept && sed -i 's/^units = .*/units = [\"no-such.service\"]/' {TOML}",
        f"mv /run/kept {TOML}",
        subject_words="no-such.service",
    ),
)
# A unit in the system's manager, by the name of one that the user's does not have.
OF_SYSTEM = Breakage(
    "unit/of-system",
    "is a unit of the system's manager",
    f"cp -a {TOML} /run/kept && sed -i 's/^units = .*/units = [\"aside.service\"]/' {TOML} && "
    "printf '[Service]\\nUser=%s\\nExecStart=true\\n' $name >/etc/systemd/system/aside.service && "
    "systemctl daemon-reload",
    f"mv /run/kept {TOML}; rm /etc/systemd/system/aside.service; systemctl daemon-reload",
    subject_words="with User=hello-quadlet",
)
WITHOUT_IMAGES = Breakage(
    "unit/without-images",
    "runs podman as probe (User=)",
    f"mkdir -p $drop_ins && printf '[Service]\\nUser=probe\\n' >$drop_ins/doctor.conf && {RELOAD}",
    f"rm -r $drop_ins; {RELOAD}",
)
UNITS = (*MENDABLE, *UNDECIDED, OF_SYSTEM, WITHOUT_IMAGES)
# Of root's alone.
LISTED = Breakage(
    "unit-listed/unlisted",
    "are not in polkit.tinyciUnits",
    f"mv {RULES} /run/kept; {POLKIT}",
    f"mv /run/kept {RULES}; {POLKIT}",
)
