"""Members of the interfaces that we offer on the bus, described in full to who introspects them.

The library names no argument that a method or a signal gives out, and does not say which changes of a property are
told; see "org.freedesktop.DBus.Property.EmitsChangedSignal" in the D-Bus Specification.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

from tinyci.dbus import bus

EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def method(*returns: str) -> Callable[[Any], Any]:
    """A method that returns values of those names."""

    def decorate(function: Any) -> Any:
        made = bus.method()(function)
        _name(made.__dict__["__DBUS_METHOD"].introspection.out_args, returns)
        return made

    return decorate


def signal(function: Any) -> Any:
    """A signal, whose arguments are called as those of the function."""
    made = bus.signal()(function)
    _, *names = inspect.signature(function).parameters
    _name(made.__dict__["__DBUS_SIGNAL"].introspection.args, names)
    return made


def prop(emits: str, name: str | None = None) -> Callable[[Any], Any]:
    """A property that can be read. `emits`: "true" when its changes are told, "const" when it has none, "false"."""

    def decorate(getter: Any) -> Any:
        made = bus.dbus_property(access=bus.PropertyAccess.READ, name=name)(getter)
        plain = made.introspection.to_xml

        def annotated() -> ElementTree.Element:
            element: ElementTree.Element = plain()
            ElementTree.SubElement(element, "annotation", name=EMITS_CHANGED, value=emits)
            return element

        made.introspection.to_xml = annotated
        return made

    return decorate


def _name(arguments: Iterable[Any], names: Iterable[str]) -> None:
    for argument, name in zip(arguments, names, strict=True):
        argument.name = name
