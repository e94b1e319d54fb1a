"""The diagnosis of a user's manager that cannot be reached, from the state of its unit and of its gate."""

from tinyci.systemd.unit import Unit


def explain_absence(user: str, service: Unit, gate: Unit, error: str, *, is_lingering: bool) -> str:
    """Return a sentence: why the manager of a user does not answer, and the command that mends it.

    `service` is its unit, user@UID.service; `error` is that of the attempt to reach it.
    """
    manager = f"the manager of user {user}"
    if service.load_state == "masked":
        return f"{manager} is masked: run 'systemctl unmask {service.name} && systemctl start {service.name}'"
    if service.active_state == "failed":
        log = f"'journalctl -u {service.name}' tells why"
        return f"{manager} has failed ({service.result}): run 'systemctl restart {service.name}'; {log}"
    if not is_lingering and not service.is_up:
        return f"user {user} does not linger, so its manager is not up: run 'loginctl enable-linger {user}'"
    if service.active_state == "inactive":
        return f"{manager} is not up: run 'systemctl start {service.name}'"
    if not service.is_up:  # it is starting, or stopping, for all that time
        return f"{manager} does not answer: look at 'systemctl status {service.name}' ({error})"
    if gate.load_state == "masked":
        return f"the gate of user {user} is masked: run 'systemctl unmask {gate.name} && systemctl start {gate.name}'"
    if gate.active_state == "failed":
        log = f"'journalctl -u {gate.name}' tells why"
        return f"the gate of user {user} has failed ({gate.result}): run 'systemctl restart {gate.name}'; {log}"
    if gate.active_state == "inactive":
        return f"user {user} has no gate: run 'systemctl enable --now {gate.name}'"
    return f"{manager} does not answer: look at 'systemctl status {service.name}' ({error})"
