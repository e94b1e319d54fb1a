"""What can be wrong with the unit of an app that a Quadlet makes, and by which words doctor has to name it.

In the scripts $name, $unit, $quadlet, $drop_ins and $systemctl are the app's.
"""

from breaking import Broken

TOML = "/etc/tinyci/repos.d/$name.toml"
RULES = "/etc/polkit-1/rules.d/40-tinyci-$name.rules"
POLKIT = "systemctl reset-failed polkit; systemctl restart polkit"
RELOAD = "$systemctl daemon-reload"

# What a command mends.
MENDED = (
    Broken("unit/masked", "is masked", "$systemctl mask -q $unit", f"$systemctl unmask -q $unit; {RELOAD}"),
    Broken("unit/changed", "has changed on disk", "touch -d '+1 minute' $quadlet", f"touch $quadlet; {RELOAD}"),
    Broken(
        "unit/not-read",
        "was not read",
        f"$systemctl stop $unit; mv $quadlet /run/kept && {RELOAD}; mv /run/kept $quadlet",
        RELOAD,
    ),
)
# What a person has to correct.
DECIDED = (
    Broken(
        "unit/not-generated",
        " comes of ",
        f"cp -a $quadlet /run/kept && sed -i 's/^Image=/Imagee=/' $quadlet && {RELOAD}",
        f"mv /run/kept $quadlet; {RELOAD}",
        about="unsupported key 'Imagee'",
    ),
    Broken(
        "unit/unloadable",
        "cannot be loaded",
        f"mkdir -p $drop_ins && printf '[Service]\\nExecStart=\\n' >$drop_ins/doctor.conf && {RELOAD}",
        f"rm -r $drop_ins; {RELOAD}",
    ),
    Broken(
        "unit/missing",
        "there is no unit",
        f"cp -a {TOML} /run/kept && sed -i 's/^units = .*/units = [\"no-such.service\"]/' {TOML}",
        f"mv /run/kept {TOML}",
        about="no-such.service",
    ),
)
UNITS = (*MENDED, *DECIDED)
# Of root's alone.
LISTED = Broken(
    "unit-listed/unlisted",
    "are not in polkit.tinyciUnits",
    f"mv {RULES} /run/kept; {POLKIT}",
    f"mv /run/kept {RULES}; {POLKIT}",
)
