"""What a function does and reads, from its syntax tree; without source, from its code object.

Comments, docstrings, annotations, formatting, the names of local variables and the position in the
file are ignored. ``ast.dump`` is not used, because its output differs between versions of Python.
"""

import ast
import dis
import linecache
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from types import CodeType, FunctionType
from weakref import WeakKeyDictionary

# Fields of syntax trees that do not affect a result.
_IGNORED = {"annotation", "ctx", "kind", "returns", "simple", "type_comment", "type_params"}
# Names through which a function can see the names of its variables.
_LOOKS_AT_NAMES = {"dir", "eval", "exec", "locals", "vars"}
_CHANGES = {
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "insert",
    "intersection_update", "pop", "popitem", "remove", "reverse", "setdefault", "sort",
    "symmetric_difference_update", "update",
}  # fmt: skip


@dataclass(slots=True)
class FunctionFacts:
    """What is known about a function.

    Attributes:
        digest: A hash of what it does.
        by_source: Whether its source was found and matches the code object; if not, ``digest`` is
            made from the code object, and may differ in another version of Python.
        attributes: The attributes of ``self`` that it reads.
        inherited: The attributes of ``super()`` that it reads.
        names: The names that it reads and that are not its own: globals and those of enclosing
            functions.
        members: ``(name, attribute)`` of such names whose attributes it reads.
        changed: The attributes of ``self``, and names, that it sets or changes in place.
    """

    digest: bytes = b""
    by_source: bool = True
    attributes: set[str] = field(default_factory=set)
    inherited: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    members: set[tuple[str, str]] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)


# By the code, which several functions may share, and the file, without which there is no source.
_KNOWN: WeakKeyDictionary[CodeType, dict[str, FunctionFacts]] = WeakKeyDictionary()


def facts_of(function: FunctionType) -> FunctionFacts:
    """Return what is known about a function; computed once for its code."""
    code = function.__code__
    files = _KNOWN.setdefault(code, {})
    known = files.get(code.co_filename)
    if known is None:
        tree = _tree_of(function)
        known = _of_code(function) if tree is None else _of_tree(tree, code)
        files[code.co_filename] = known
    return known


# --- from source ------------------------------------------------------------------------------

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Found = tuple[_Function, CodeType]
_FILES: dict[str, tuple[list[str], dict[str, list[_Found]]]] = {}
_MOST_FILES = 8  # trees are large


def _tree_of(function: FunctionType) -> _Function | None:
    """Return the syntax tree of a function, if the source is the one that was loaded.

    A file edited since has different code; a function that has only moved is found.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    known = _FILES.get(code.co_filename)
    if known is None or known[0] != lines:
        _FILES.pop(code.co_filename, None)
        known = _FILES[code.co_filename] = lines, _functions_in("".join(lines))
        for other in [*_FILES][:-_MOST_FILES]:
            _FILES.pop(other, None)
    found = [tree for tree, other in known[1].get(code.co_qualname, ()) if _is_same(code, other)]
    return found[0] if found else None


def _parsed(text: str, tries: int = 5) -> ast.Module:
    """Parse a text; retry if Python 3.11 fails because another thread is parsing."""
    while True:
        tries -= 1
        try:
            return ast.parse(text)
        except SystemError:  # "AST constructor recursion depth mismatch": python/cpython#106905
            if not tries:
                raise


def _functions_in(text: str) -> dict[str, list[_Found]]:
    """Return the functions of a file by their qualified names, with their compiled code."""
    try:
        tree = _parsed(text)
        module = compile(tree, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    places: dict[tuple[int, str], list[_Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            places.setdefault((first, getattr(node, "name", "<lambda>")), []).append(node)
    functions: dict[str, list[_Found]] = {}
    for code in _codes_in(module):
        there = places.get((code.co_firstlineno, code.co_name), ())
        if len(there) == 1:  # several lambdas in a line cannot be distinguished
            functions.setdefault(code.co_qualname, []).append((there[0], code))
    return functions


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for within in code.co_consts:
        if isinstance(within, CodeType):
            yield within
            yield from _codes_in(within)


def _is_same(code: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they are."""
    if code.co_code != other.co_code or len(code.co_consts) != len(other.co_consts):
        return False
    facts = ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags", "co_argcount")
    if any(getattr(code, fact) != getattr(other, fact) for fact in facts):
        return False
    return all(
        _is_same(one, two)
        if isinstance(one, CodeType) and isinstance(two, CodeType)
        else repr(one) == repr(two)  # 1 == 1.0 == True
        for one, two in zip(code.co_consts, other.co_consts, strict=True)
    )


def _of_tree(tree: _Function, code: CodeType) -> FunctionFacts:
    facts = FunctionFacts()
    bound = _bound_in(tree)
    _note_reads(tree, bound, facts)
    local = bound - _names_seen_in(tree, code)
    writer = _Writer(local)
    writer.write_function(tree)
    facts.digest = blake2b("".join(writer.parts).encode(), digest_size=16).digest()
    return facts


def _bound_in(tree: _Function) -> set[str]:
    """Return the names that a function, or one within it, assigns."""
    bound, elsewhere = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if node is not tree:
                    bound.add(name)
            case ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                bound.add(name)
            case ast.alias(name=name):
                bound.add(name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
    return bound - elsewhere


def _names_seen_in(tree: _Function, code: CodeType) -> set[str]:
    """Return the names that are visible, or may be visible, outside their own function."""
    names = {name for one in (code, *_codes_in(code)) for name in one.co_names}
    everything = _bound_in(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():  # its names are attributes
                return everything
            case ast.Name(id=name) if name in _LOOKS_AT_NAMES:
                return everything
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)) | ast.alias(name=name):
                names.add(name.partition(".")[0])
    return names


def _note_reads(tree: _Function, bound: set[str], facts: FunctionFacts) -> None:
    """Collects the attributes of ``self`` and the outer names that a function reads and changes."""
    arguments = [*tree.args.posonlyargs, *tree.args.args]
    first = arguments[0].arg if arguments else None

    def attribute(node: ast.AST) -> str | None:
        """Return ``x`` of ``self.x`` and of ``type(self).x``."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name == first:
                return attr
            case ast.Attribute(
                value=ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)]), attr=attr
            ) if name == first:
                return attr
        return None

    def changes(node: ast.AST) -> None:
        name = node.id if isinstance(node, ast.Name) else attribute(node)
        if name is not None:
            facts.changed.add(name)

    for node in ast.walk(tree):
        if (read := attribute(node)) is not None:
            facts.attributes.add(read)
        match node:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attr):
                facts.inherited.add(attr)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name not in bound:
                facts.members.add((name, attr))
            case ast.Name(id=name) if name not in bound:
                facts.names.add(name)
            case ast.Call(func=ast.Attribute(value=changing, attr=attr)) if attr in _CHANGES:
                changes(changing)
        match node:
            case ast.Attribute(value=changing, ctx=ast.Store() | ast.Del()):
                changes(node)
                changes(changing)  # self.stats.calls = …
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name not in bound:
                changes(node)
            case ast.Subscript(value=changing, ctx=ast.Store() | ast.Del()):
                changes(changing)


class _Writer:
    """Writes a syntax tree as a string, so that equal trees give equal strings.

    Args:
        local: The names to number, in the order in which they occur.
    """

    def __init__(self, local: set[str]) -> None:
        self.parts: list[str] = []
        self._local = local
        self._numbers: dict[str, int] = {}

    def write_function(self, tree: _Function) -> None:
        """Write a function, without its name and its decorators."""
        self.parts.append(type(tree).__name__)
        self._write(tree.args)
        self._write(tree.body)

    def _name(self, name: str) -> str:
        if name not in self._local:
            return name
        return f"${self._numbers.setdefault(name, len(self._numbers))}"

    def _write(self, node: object) -> None:
        parts = self.parts
        match node:
            case list():
                parts.append("[")
                for one in _without_idle(node):
                    self._write(one)
                parts.append("]")
            case ast.Constant(value=value):
                parts.append(f"{type(value).__name__} {_shown(value)};")
            case ast.JoinedStr(values=values):
                parts.append("JoinedStr")
                self._write(_joined(values))
            case ast.AnnAssign(target=target, value=ast.AST() as value):
                self._write(ast.Assign([target], value))
            case ast.ClassDef(body=body):
                self._write_fields(node, _IGNORED | {"body"})
                for statement in body:
                    if isinstance(statement, ast.AnnAssign):  # in a dataclass, these are fields
                        self._write_fields(statement, _IGNORED - {"annotation"})
                    else:
                        self._write([statement])
            case ast.AST():
                self._write_fields(node, _IGNORED)
            case str():
                parts.append(f"{self._name(node)!a};")
            case _:
                parts.append(f"{node!a};")

    def _write_fields(self, node: ast.AST, ignored: Collection[str]) -> None:
        self.parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            # What a later version of Python added is empty in older code.
            if name not in ignored and value is not None and value != []:
                self.parts.append(f"{name}=")
                self._write(value)
        self.parts.append(")")


def _shown(value: object) -> str:
    return hex(value) if type(value) is int else ascii(value)


def _without_idle(nodes: Iterable[object]) -> Iterator[object]:
    """Yield the statements that do something: no docstrings, ``pass`` or bare annotations."""
    for node in nodes:
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None):
                continue
        yield node


def _joined(values: Iterable[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string, with adjacent texts joined.

    Python 3.12 puts an empty text after some.
    """
    joined: list[ast.expr] = []
    for part in values:
        last = joined[-1] if joined else None
        match (last, part):
            case (_, ast.Constant(value="")):
                continue
            case (ast.Constant(value=str(before)), ast.Constant(value=str(text))):
                joined[-1] = ast.Constant(before + text)
            case _:
                joined.append(part)
    return joined


# --- without source ---------------------------------------------------------------------------


def _of_code(function: FunctionType) -> FunctionFacts:
    code = function.__code__
    facts = FunctionFacts(by_source=False)
    parts: list[str] = []
    _write_code(code, function.__doc__, parts)
    facts.digest = blake2b("".join(parts).encode(), digest_size=16).digest()
    for one in (code, *_codes_in(code)):
        names = set(one.co_names)
        facts.attributes |= names
        facts.names |= names | set(one.co_freevars)
        if "super" in names:
            facts.inherited |= names
        for step in dis.get_instructions(one):
            if step.opname.startswith(("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")):
                facts.changed.add(str(step.argval))
    return facts


def _write_code(code: CodeType, doc: str | None, parts: list[str]) -> None:
    """Write a code object as text, without addresses, lines and the docstring."""
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    parts.append(f"{code.co_code.hex()};{names!a};{code.co_argcount};")
    for at, value in enumerate(code.co_consts):
        if isinstance(value, CodeType):
            _write_code(value, None, parts)
        elif isinstance(value, frozenset):
            parts.append(f"{sorted(map(ascii, value))};")
        elif at or value is None or value != doc:
            parts.append(f"{type(value).__name__} {_shown(value)};")
