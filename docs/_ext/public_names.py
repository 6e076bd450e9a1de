"""``.. public:: kaygraph`` documents what a module exports, from the tables it exports it by.

The lines of the directive name modules of the package (``limits.rate``, or ``http`` for all that
stand in ``http/``), in the order of the page; without lines it documents all names. A class shows
its own members and those of its private bases, except those for the engine.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any, ForwardRef, Generic, get_args, get_origin, is_typeddict

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature as inspect_signature
from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import stringify_annotation

from kaygraph.node.facts import Fact, Facts

MODULES = [
    "kaygraph",
    "kaygraph.types",
    "kaygraph.errors",
    "kaygraph.events",
    "kaygraph.executors.dask",
    "kaygraph.tracing",
    "kaygraph.nodes",
    "kaygraph.nodes.errors",
    "kaygraph.nodes.types",
    "kaygraph.patterns",
    "kaygraph.patterns.splitting",
    "kaygraph.patterns.validation",
    "kaygraph.testing",
    "kaygraph.testing.exploration",
    "kaygraph.testing.simulation",
    "kaygraph.compat",
]
# Of the modules that do not have __all__: what is public and is not in the package above as well.
NAMED = {
    "kaygraph.errors": (
        "JournalCorruptError",
        "JournalVersionError",
        "NodeChangedError",
        "NotRecordableError",
        "RunDivergedError",
    ),
    "kaygraph.events": ("Observer", "Usage"),
    "kaygraph.patterns.splitting": ("Aggregation",),
    "kaygraph.patterns.validation": ("ValidationFailure",),
    "kaygraph.testing.exploration": ("Exploration", "Failure"),
    "kaygraph.testing.simulation": ("Simulation",),
}
# What runs are made of; a member that takes or returns one of these is for the engine.
ENGINE = frozenset(
    ("Buffer", "Circuit", "FanOut", "Frame", "Hub", "RateClaim", "RateHere", "Run", "Slot", "Store")
)
MEMBERS = property | Fact | classmethod | staticmethod


@cache
def places(module: str) -> dict[str, str]:
    """Return the public names of a module and, of each, the module that defines it."""
    if module in ("kaygraph", "kaygraph.types"):
        tables = import_module("kaygraph._public")
        return dict(tables.PLACES if module == "kaygraph" else tables.TYPE_PLACES)
    public = import_module(module)
    names = NAMED.get(module) or public.__all__
    return dict(vars(public).get("_PLACES", dict.fromkeys(names, "")))


@cache
def public_classes() -> set[type]:
    """Return all classes that have a place in the reference."""
    things = [getattr(import_module(module), name) for module in MODULES for name in places(module)]
    return {thing for thing in things if isinstance(thing, type)}


def members(thing: type) -> list[str]:
    """Return what a class has to show itself: the members of public bases stand with those."""
    found: dict[str, None] = {}
    for cls in thing.__mro__:
        if cls is not thing and (cls in public_classes() or not cls.__module__.startswith("kay")):
            break
        for name, value in vars(cls).items():
            shown = inspect.isfunction(value) or isinstance(value, MEMBERS)
            text = inspect.getdoc(getattr(thing, name)) if shown and name[0] != "_" else None
            listed = re.search(rf"^ +{name}: ", thing.__doc__ or "", re.MULTILINE)
            if text and not listed and not for_the_engine(text, value):
                found[name] = None
    return list(found)


def for_the_engine(text: str, value: Any) -> bool:
    """Whether the engine alone calls a member: its docstring says so, or its types."""
    types = " ".join(map(str, getattr(value, "__annotations__", {}).values()))
    return "for the engine" in text or not ENGINE.isdisjoint(re.findall(r"\w+", types))


def bases_of(thing: type) -> list[Any]:
    """Return the bases that readers can look up."""
    bases = vars(thing).get("__orig_bases__", thing.__bases__)
    return [
        base
        for base in bases
        if (cls := get_origin(base) or base) in public_classes()
        or (not cls.__module__.startswith("kaygraph") and cls not in (Generic, object))
    ]


def lines_of(module: str, name: str) -> Iterator[str]:
    """Return the directives for one name."""
    thing = getattr(import_module(module), name)
    if not isinstance(thing, type):
        if inspect.isfunction(thing):
            yield f".. autofunction:: {module}.{name}"
        else:  # an alias, which has no docstring of its own
            yield f".. py:type:: {name}"
            yield f"   :module: {module}"
            yield f"   :canonical: {stringify_annotation(thing, 'smart')}"
        yield ""
        return
    yield f".. autoclass:: {module}.{name}"
    if bases_of(thing) and not is_typeddict(thing):
        yield "   :show-inheritance:"
    if shown := members(thing):
        yield f"   :members: {', '.join(shown)}"
    yield ""
    if is_typeddict(thing):
        for key, annotation in inspect.get_annotations(thing).items():
            yield f"   .. py:attribute:: {key}"
            yield f"      :type: {text_of(annotation)}"
            yield ""


def text_of(annotation: Any) -> str:
    """Return how a type is written, without what checks its values."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return stringify_annotation(annotation, "smart")


def depth(module: str, name: str) -> int:
    """Return how many classes a class builds on, so that it can stand after them."""
    return len(getattr(getattr(import_module(module), name), "__mro__", ()))


class Public(SphinxDirective):
    """The names of a module, or those of some of the modules that it has them from."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        wanted = [line.strip() for line in self.content if line.strip()]
        names = [
            name
            for line in wanted or [""]
            for name, place in sorted(places(module).items(), key=lambda it: depth(module, it[0]))
            if not line or place == line or place.startswith(f"{line}.")
        ]
        if not names or len(names) != len(set(names)):
            raise self.error(f"no names, or one twice: {module} {wanted}")
        lines = [line for name in names for line in lines_of(module, name)]
        return self.parse_text_to_nodes("\n".join(lines))


def no_type_in_front(
    _app: Sphinx, kind: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """Keep napoleon from taking the words before a colon for the type of a property."""
    if kind in ("attribute", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def as_called(
    _app: Sphinx, kind: str, _name: str, thing: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str]:
    """Show what ``__init__`` takes, where a ``__new__`` takes anything.

    ``...`` stands for a default that a dataclass makes anew, whose repr is not an expression.
    """
    if kind == "class" and signature and signature.startswith("(*_"):
        taken = inspect_signature(thing.__init__, bound_method=True)
        signature = stringify_signature(
            taken, unqualified_typehints=True, show_return_annotation=False
        )
    return signature.replace("<factory>", "...") if signature else signature, returns


def public_bases(_app: Sphinx, _name: str, thing: Any, _options: Any, bases: list[Any]) -> None:
    """Leave out the private bases: their members stand with the class itself."""
    bases[:] = bases_of(thing)


def to_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Node | None:
    """Link a type that an annotation names by its private module; leave a private one as text.

    A name that is nowhere stays a warning.
    """
    module, _, name = str(node.get("reftarget", "")).rpartition(".")
    if node.get("refdomain") != "py" or not f"{module}.".startswith(("kaygraph.", ".")):
        return None
    homes = [public for public in MODULES if name in places(public)]
    homes = [home for home in homes if not module or module.startswith(home)] or homes
    if len(homes) == 1:
        python = env.domains.python_domain
        return python.resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"{homes[0]}.{name}", node, text
        )
    with suppress(ImportError, ValueError):  # of no module at all
        return text if hasattr(import_module(module), name) else None
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive to Sphinx."""
    for name, fact in vars(Facts).copy().items():
        if isinstance(fact, Fact):  # autodoc knows the types of properties
            setattr(Facts, name, property(fact.read))
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", no_type_in_front, priority=400)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", as_called)
    app.connect("missing-reference", to_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
