"""Which small faults can be put into a source file: each is a place in its text and what would stand there.

Only code is changed that could be wrong in this way: no docstring, annotation, decorator, message of an error or line
of a log.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_CALLS = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list"}
# Calls whose arguments are words for people.
_TOLD = {"print", "tell", "warn", "warning", "info", "debug", "error", "exception", "log_line", "on_progress"}
_SKIPPED_STATEMENTS = (ast.Import, ast.ImportFrom, ast.Raise, ast.Assert, ast.Global, ast.Nonlocal)


@dataclass(frozen=True)
class Fault:
    """A fault: `replacement` stands for the characters from `start` to `end` of the file `path`, in line `line`."""

    path: str
    line: int
    start: int
    end: int
    kind: str
    original: str
    replacement: str

    @property
    def key(self) -> str:
        """A name that survives changes of other lines: file, kind, and what was put for what."""
        return f"{self.path}: {self.kind}: {_short(self.original)} -> {_short(self.replacement)}"

    def applied_to(self, source: str) -> str:
        """The source with the fault in it."""
        return source[: self.start] + self.replacement + source[self.end :]


def faults_of(path: Path, root: Path) -> list[Fault]:
    """Every fault of a file whose result is still Python, in the order of its text."""
    source = path.read_text(encoding="utf-8")
    found = {
        (start, end, replacement): Fault(
            str(path.relative_to(root)), line, start, end, kind, source[start:end], replacement
        )
        for line, start, end, kind, replacement in _Finder(source).faults()
    }
    return [fault for _, fault in sorted(found.items()) if _is_python(fault.applied_to(source))]


def draw(files: list[Path], root: Path, count: int, seed: int, left_out: Container[str] = ()) -> list[Fault]:
    """A seeded sample of `count` faults over the files, each as likely as any other but for the keys left out."""
    found = [fault for path in sorted(files) for fault in faults_of(path, root)]
    everything = [fault for fault in found if fault.key not in left_out]
    drawn = random.Random(seed).sample(everything, min(count, len(everything)))
    return sorted(drawn, key=lambda fault: (fault.path, fault.start))


class _Finder:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tree = ast.parse(source)
        # ast counts columns in bytes, str in characters.
        self._line_starts, self._lines, at = [], source.splitlines(keepends=True), 0
        for line in self._lines:
            self._line_starts.append(at)
            at += len(line)

    def faults(self) -> Iterator[tuple[int, int, int, str, str]]:
        for node in self._code(self._tree):
            for start, end, kind, replacement in self._of(node):
                yield self._source.count("\n", 0, start) + 1, start, end, kind, replacement

    def _code(self, node: ast.AST) -> Iterator[Any]:
        """Every node that is code, from the outside to the inside."""
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or self._is_skipped(child):
                    continue
                if hasattr(child, "lineno") or isinstance(child, ast.comprehension):
                    yield child
                yield from self._code(child)

    def _is_skipped(self, node: ast.AST) -> bool:
        if isinstance(node, _SKIPPED_STATEMENTS) or _is_no_fault(node):
            return True
        if isinstance(node, ast.Expr):
            value = node.value
            return isinstance(value, ast.Constant) or (
                isinstance(value, ast.Call) and _called(value) in _TOLD
            )
        if isinstance(node, ast.If):
            return "TYPE_CHECKING" in ast.dump(node.test)
        return isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in ("__all__", "model_config")
            for target in node.targets
        )

    def _of(self, node: ast.AST) -> Iterator[tuple[int, int, str, str]]:
        if isinstance(node, ast.Compare):
            left = node.left
            for operator, right in zip(node.ops, node.comparators, strict=True):
                yield self._between(left, right, "comparison", f" {_COMPARISONS[type(operator)]} ")
                left = right
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_text(node):
            yield self._between(node.left, node.right, "arithmetic", f" {_OPERATORS[type(node.op)]} ")
        elif isinstance(node, ast.BoolOp):
            swapped = " or " if isinstance(node.op, ast.And) else " and "
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield self._between(left, right, "and/or", swapped)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield self._whole(node, "not", self._text(node.operand))
        elif isinstance(node, ast.Constant):
            yield from self._constant(node)
        elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Constant):
            yield self._whole(node.test, "condition", "False")
            if not isinstance(node, ast.While):
                yield self._whole(node.test, "condition", "True")
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield self._whole(test, "filter", "True")
        elif isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, ast.Expr | ast.AugAssign | ast.Delete):
            yield self._whole(node, "statement", "pass")
        elif isinstance(node, ast.Continue):
            yield self._whole(node, "statement", "break")
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield self._whole(node.value, "result", "None")

    def _constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str, str]]:
        if isinstance(node.value, bool):
            yield self._whole(node, "constant", str(not node.value))
        elif isinstance(node.value, int | float) and self._text(node)[:1] in "0123456789.":
            yield self._whole(node, "constant", f"({node.value!r} + 1)")

    def _call(self, node: ast.Call) -> Iterator[tuple[int, int, str, str]]:
        name = _called(node)
        if isinstance(node.func, ast.Name) and name in _CALLS:
            yield self._whole(node.func, "call", _CALLS[name])
        if isinstance(node.func, ast.Attribute) and not node.keywords and not node.args:
            if not _is_super(node.func.value):
                yield self._whole(node, "call", self._text(node.func.value))  # without what the method does
        elif len(node.args) == 1 and not node.keywords and not _is_words(node):
            yield self._whole(node, "call", self._text(node.args[0]))
        if name in _TOLD or name.endswith("Error"):
            return
        for keyword in node.keywords:
            if keyword.arg is not None and not _is_no_fault(keyword):
                start, end = self._span(keyword)
                rest = self._source[end:]
                comma = len(rest) - len(rest.lstrip(" \n")) + 1 if rest.lstrip(" \n")[:1] == "," else 0
                yield start, end + comma, "argument", ""

    def _between(self, left: ast.AST, right: ast.AST, kind: str, text: str) -> tuple[int, int, str, str]:
        start, end = self._span(left)[1], self._span(right)[0]
        closing = self._source[start:end]
        before = len(closing) - len(closing.lstrip(" )\n"))
        after = len(closing) - len(closing.rstrip(" (\n"))
        kept_before = closing[:before].rstrip(" ")
        kept_after = closing[len(closing) - after :].lstrip(" ") if after else ""
        return start, end, kind, f"{kept_before}{text}{kept_after}"

    def _whole(self, node: ast.AST, kind: str, text: str) -> tuple[int, int, str, str]:
        return *self._span(node), kind, text

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end]

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _offset(self, line: int, column_bytes: int) -> int:
        text = self._lines[line - 1].encode("utf-8")[:column_bytes].decode("utf-8")
        return self._line_starts[line - 1] + len(text)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _is_no_fault(node: ast.AST) -> bool:
    """Whether this is a setting's words for people, or the `strict=True` of a zip, an assertion in other words."""
    return isinstance(node, ast.keyword) and node.arg in ("description", "help", "strict")


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "super"


def _is_words(node: ast.Call) -> bool:
    """Whether a call joins words, makes an error, or takes its argument apart by `*`."""
    name = _called(node)
    return name.endswith("Error") or name in _TOLD | {"join"} or isinstance(node.args[0], ast.Starred)


def _is_text(node: ast.BinOp) -> bool:
    """Whether this joins or formats text, or joins types: `str | None`."""
    ends = (node.left, node.right)
    return any(
        isinstance(end, ast.JoinedStr)
        or (isinstance(end, ast.Constant) and isinstance(end.value, str | None))
        for end in ends
    )


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _short(text: str) -> str:
    """Text in one line, cut in its middle."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:40]} ... {text[-15:]}"
