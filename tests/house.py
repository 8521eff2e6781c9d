"""How the rooms of the package lean on each other: `make house`

A room is a folder of `harness/`, or a module at its top. An import counts once per module and room,
wherever it stands: at the top, inside a function, or for the type checker alone.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "harness"


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the package that a file imports, as often as it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                name = inner if inner in known else node.module
                if name in known:
                    yield name


def room(module: str) -> str:
    """The room that a module lies in; `harness` itself for the package's `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports() -> dict[str, set[str]]:
    """Module → the modules that it imports."""
    files = modules()
    return {name: set(imported(path, set(files))) for name, path in files.items()}


def between_rooms() -> dict[str, Counter[str]]:
    """Room → the rooms that it imports from, with the number of imports (module by module)."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for module, others in imports().items():
        for other in others:
            if room(module) != room(other):
                counted[room(module)][room(other)] += 1
    return counted


def circles() -> list[set[str]]:
    """Sets of rooms that import each other, directly or by way of others."""
    edges = {one: set(others) for one, others in between_rooms().items()}
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                waiting += edges.get(here, ())
        reached[start] = seen
    found: list[set[str]] = []
    for one, others in reached.items():
        circle = {one} | {other for other in others if one in reached.get(other, ())}
        if one in others and circle not in found:
            found.append(circle)
    return found


def parameters(path: Path) -> Iterator[tuple[str, int]]:
    """Name of each function of a file, and how many parameters it has beside self or cls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            names += [one.arg for one in (given.vararg, given.kwarg) if one is not None]
            yield node.name, len(names) - (names[:1] in (["self"], ["cls"]))


def lines_of_code(path: Path) -> int:
    """Lines without blanks, comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), 1)
    )


def longest() -> Counter[str]:
    """Module → its lines of code."""
    return Counter({name: lines_of_code(path) for name, path in modules().items()})


def users() -> Counter[str]:
    """Module → how many modules import it."""
    return Counter(other for others in imports().values() for other in others)


def main() -> None:
    """Print rooms with their lines, the imports between them, circles, and the extremes."""
    counted, lines = between_rooms(), longest()
    sizes: Counter[str] = Counter()
    for name, count in lines.items():
        sizes[room(name)] += count
    print(f"{sum(lines.values()):,} lines of code in {len(lines)} modules and {len(sizes)} rooms")
    for folder in ("benchmarks", "tests"):
        beside = sum(map(lines_of_code, sorted((PACKAGE.parent / folder).rglob("*.py"))))
        print(f"{beside:,} lines of code in {folder}/")
    for name, size in sorted(sizes.items()):
        others = " ".join(f"{other}:{n}" for other, n in sorted(counted.get(name, {}).items()))
        print(f"  {name:12} {size:6,}  {others}")
    print(f"{sum(sum(row.values()) for row in counted.values())} imports between rooms")
    print("circles:", "; ".join(" ".join(sorted(circle)) for circle in circles()) or "none")
    print("longest:", ", ".join(f"{name} {n}" for name, n in longest().most_common(3)))
    print("most imported:", ", ".join(f"{name} {n}" for name, n in users().most_common(3)))


if __name__ == "__main__":
    main()
