"""D-Bus: connections, the members of our interfaces, and names on the bus.

Only this room imports dbus-next, and it covers that library's defects. It imports `model`, `runtime` and the catalog,
and knows neither what systemd's answers mean nor what tinyci offers.
"""

import sys

# The library would also import what GLib's main loop needs: 17 ms of each start of a command line, for nothing here.
sys.modules["gi"] = None  # type: ignore[assignment]
import dbus_next  # noqa: E402, F401

del sys.modules["gi"]
