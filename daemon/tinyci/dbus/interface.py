"""The members of our interfaces on the bus, described in full for introspection.

The library names no argument that a method or a signal gives out, and does not say which changes of a property are
signalled; see "org.freedesktop.DBus.Property.EmitsChangedSignal" in the D-Bus Specification.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

from tinyci.dbus import bus

EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def method(*returns: str) -> Callable[[Any], Any]:
    """Export a method; its values have these names."""

    def decorate(function: Any) -> Any:
        member = bus.method()(function)
        _name(member.__dict__["__DBUS_METHOD"].introspection.out_args, returns)
        return member

    return decorate


def signal(function: Any) -> Any:
    """Export a signal; its arguments have the names of the function's."""
    member = bus.signal()(function)
    _, *names = inspect.signature(function).parameters
    _name(member.__dict__["__DBUS_SIGNAL"].introspection.args, names)
    return member


def prop(emits: str, name: str | None = None) -> Callable[[Any], Any]:
    """Export a property that can be read.

    `emits`: "true" if its changes are signalled, "false" if they are not, "const" if there are none.
    """

    def decorate(getter: Any) -> Any:
        member = bus.dbus_property(access=bus.PropertyAccess.READ, name=name)(getter)
        plain = member.introspection.to_xml

        def annotated() -> ElementTree.Element:
            element: ElementTree.Element = plain()
            ElementTree.SubElement(element, "annotation", name=EMITS_CHANGED, value=emits)
            return element

        member.introspection.to_xml = annotated
        return member

    return decorate


def _name(arguments: Iterable[Any], names: Iterable[str]) -> None:
    for argument, name in zip(arguments, names, strict=True):
        argument.name = name
