"""The house measured: its rooms, who imports whom, and where the code asks which task it is about.

    python scripts/architecture.py           prints the numbers
    python scripts/architecture.py --write   writes docs/images/architecture.svg and the numbers into docs/design.md

All of it is read from the code's own text; nothing is imported or run.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "everymask"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- numbers: python scripts/architecture.py --write -->", "<!-- /numbers -->"

# What `Dataset.kind` and formats call the truth of some tasks, besides the tasks' own names.
OTHER_NAMES = {"panoptic", "label maps", "change maps"}
# Where the unions and lists stand that a task adds to, and what is met on the way that does not say which task it is.
UNIONS = {
    "everymask.core.segmentation": "Segmentation",
    "everymask.models.build": "NetworkOutputs",
    "everymask.models.specs.any_spec": "ModelSpec",
    "everymask.settings.plan": "GROUPS",
}
NO_TASKS = {"Dataset", "CalibrationMetric", "CalibrationScores"}
# Rooms from the ground up, several on one floor, as import-linter's contract in pyproject.toml has them.
FLOORS = (
    ("errors",),
    ("core",),
    ("metrics",),
    ("data", "viz"),
    ("classical",),
    ("models",),
    ("results", "settings"),
    ("tasks",),
    ("infer",),
    ("backends", "evaluate", "runtimes"),
    ("train",),
    ("api", "engines", "environment", "serving"),
    ("export", "inspection"),
    ("commands",),
    ("cli",),
    ("__main__",),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A function that asks for the task, and whether it does so by a match that must name every kind."""

    file: str
    function: str
    exhaustive: bool


def modules() -> dict[str, Path]:
    """Module name -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """The code of a file."""
    return ast.parse(path.read_text("utf-8"))


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules of this package that it imports, those for annotations only included."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in known.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("everymask"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found[module] |= {name for name in names if name in known} or {node.module}
            elif isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names if alias.name in known}
    return found


@cache
def kinds() -> frozenset[str]:
    """The classes that one task has for itself. Whoever takes a value for one of these asks for its task.

    They are the truths and specs that lead to a task, what tasks are made of, and what gives or holds their answers:
    networks, outputs, metrics, scores and folders.
    """
    found: set[str] = set()
    for module, path in modules().items():
        tree = parsed(path)
        if module.startswith("everymask.tasks."):
            found |= _made_of(tree)
        if module in UNIONS:
            found |= _members(tree, UNIONS[module])
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found |= _of_one_task(node)
    return frozenset(found - NO_TASKS)


@cache
def task_values() -> frozenset[str]:
    """The names of the values that are tasks."""
    trees = [parsed(path) for path in sorted((PACKAGE / "tasks").glob("*.py"))]
    made = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    return frozenset(ast.unparse(node.targets[0]) for node in made if _calls(node.value, "Task"))


@cache
def task_names() -> frozenset[str]:
    """What users call the tasks, and what data sets do."""
    tree = parsed(PACKAGE / "core" / "segmentation.py")
    return frozenset(_members(tree, "TaskName")) | OTHER_NAMES


def _made_of(tree: ast.Module) -> set[str]:
    """The classes that a file of a task matches, and those that it makes a task or its metrics of."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.MatchClass(cls=ast.Name(id=name)):
                found.add(name)
            case ast.Call(func=ast.Name(id="Task"), keywords=words):
                found |= {word.value.id for word in words if isinstance(word.value, ast.Name)}
            case ast.Call(func=ast.Name(id=name)) if name.endswith("Metric"):
                found.add(name)
    return {name for name in found if name[0].isupper()}


def _of_one_task(node: ast.ClassDef) -> set[str]:
    """The class, if it is a task's network, outputs or folder; the scores that a metric gives."""
    bases = {name.id for base in node.bases for name in ast.walk(base) if isinstance(name, ast.Name)}
    methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
    if "Protocol" in bases:
        return set()
    if node.name.endswith("Metric") and "compute" in methods:
        scores = methods["compute"].returns
        return {scores.id} if isinstance(scores, ast.Name) else set()
    own = bases & {"Network", "OutputFolder"} or {"segmentation", "planes"} <= methods.keys()
    return {node.name} if own else set()


def _members(tree: ast.Module, alias: str) -> set[str]:
    """The classes of a union, or the texts of a Literal, that a module calls `alias`."""
    named = {ast.unparse(node.target): node.value for node in tree.body if isinstance(node, ast.AnnAssign)}
    parts = list(ast.walk(named[alias] or tree))
    texts = {str(node.value) for node in parts if isinstance(node, ast.Constant)}
    return texts | {node.id for node in parts if isinstance(node, ast.Name)} - {"Literal"}


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def two_way(edges: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs of modules that import each other."""
    return sorted({tuple(sorted((a, b))) for a, others in edges.items() for b in others if a in edges.get(b, ())})  # type: ignore[misc]


def asking(known: dict[str, Path]) -> list[Place]:
    """The places outside the room of tasks that ask which task something belongs to."""
    found = []
    for module, path in known.items():
        if module.startswith("everymask.tasks"):
            continue
        for function in _functions(parsed(path)):
            if any(asks(node) for node in _own_nodes(function)):
                exhaustive = "assert_never" in {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
                found.append(Place(path.relative_to(ROOT).as_posix(), function.name, exhaustive))
    return found


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)


def asks(node: ast.AST) -> bool:
    """Whether this piece of code asks for the task."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, kind]):
            return bool({n.id for n in ast.walk(kind) if isinstance(n, ast.Name)} & kinds())
        case ast.MatchClass(cls=ast.Name(id=name)):
            return name in kinds()
        case ast.Compare(comparators=[ast.Constant(value=str(value))]):
            return value in task_names()
        case ast.Compare(comparators=[ast.Name(id=name)]):
            return name in task_values()
        case ast.MatchValue(value=ast.Constant(value=str(value))):
            return value in task_names()
        case ast.Attribute(attr="is_semantic"):
            return True
        case _:
            return False


def numbers() -> str:
    """The numbers as a table in Markdown."""
    known = modules()
    lines = {module: len(path.read_text("utf-8").splitlines()) for module, path in known.items()}
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in known.values())
    fullest, most = folders.most_common(1)[0]
    places = asking(known)
    longest = max(lines, key=lambda module: lines[module])
    rows = [
        ("files, lines", f"{len(lines)}, {sum(lines.values()):,}"),
        ("lines of a file: median, most", f"{statistics.median(lines.values()):.0f}, {lines[longest]} ({longest})"),
        ("files in a folder: most", f"{most} ({fullest})"),
        ("modules that import each other", str(len(two_way(imports(known))))),
        (
            "functions outside `tasks` that ask for the task",
            f"{len(places)}, of which {sum(place.exhaustive for place in places)} match every kind",
        ),
    ]
    return "\n".join(("| what | number |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)))


def picture() -> str:
    """The rooms as an SVG: floors from the ground up, a room's width by its lines.

    An arrow is left out where others lead the same way: who imports `tasks` may import what `tasks` imports.
    """
    known = modules()
    lines: Counter[str] = Counter()
    for module, path in known.items():
        lines[_room(module)] += len(path.read_text("utf-8").splitlines())
    uses = _shortest({(_room(a), _room(b)) for a, others in imports(known).items() for b in others})
    tall, gap, wide = 34, 22, 760
    boxes: dict[str, tuple[float, float, float]] = {}
    parts = []
    for floor, rooms in enumerate(reversed(FLOORS)):
        top = 12 + floor * (tall + gap)
        widths = [max(90.0, 50 + 3.8 * lines[room] ** 0.5) for room in rooms]
        left = (wide - sum(widths) - 30 * (len(rooms) - 1)) / 2
        for room, width in zip(rooms, widths, strict=True):
            boxes[room] = (left, top, width)
            parts.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{tall}" rx="5" class="room"/>'
                f'<text x="{left + width / 2:.0f}" y="{top + 15}">{room}</text>'
                f'<text x="{left + width / 2:.0f}" y="{top + 28}" class="small">{lines[room]:,} lines</text>'
            )
            left += width + 30
    order = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    for user, used in sorted(uses):
        if user in boxes and used in boxes and user != used:
            parts.insert(0, _arrow(boxes[user], boxes[used], tall, order[user] - order[used]))
    height = 24 + len(FLOORS) * (tall + gap) - gap
    style = (
        "text{font:13px sans-serif;text-anchor:middle;fill:#1b2733}.small{font-size:10px;fill:#5b6b7a}"
        ".room{fill:#eaf1f8;stroke:#5c8fc0}path{fill:none;stroke:#9db4ca;stroke-width:1}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" width="{wide}" height="{height}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/><style>{style}</style>{"".join(parts)}</svg>\n'


def _shortest(uses: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that no others lead around."""
    reached = {(a, b) for a, b in uses if a != b}
    direct = set(reached)
    while more := {(a, d) for a, b in reached for c, d in direct if b == c} - reached:
        reached |= more
    rooms = {room for use in direct for room in use}
    return {(a, b) for a, b in direct if not any((a, c) in reached and (c, b) in reached for c in rooms - {a, b})}


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _arrow(user: tuple[float, float, float], used: tuple[float, float, float], tall: int, floors: int) -> str:
    """From the foot of the user to the head of what it uses; what passes several floors bends outwards."""
    x1, y1 = user[0] + user[2] / 2, user[1] + tall
    x2, y2 = used[0] + used[2] / 2, used[1]
    bend = 0.0 if floors == 1 else (26.0 * floors + 40) * (1 if (x1 + x2) >= 760 and floors % 2 else -1)
    middle = (y1 + y2) / 2
    return f'<path d="M{x1:.0f} {y1} C{x1 + bend:.0f} {middle:.0f} {x2 + bend:.0f} {middle:.0f} {x2:.0f} {y2}"/>'


def written() -> dict[Path, str]:
    """File -> what this script would write into it."""
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return {PICTURE: picture(), PAGE: f"{before}{BEGIN}\n{numbers()}\n{END}{after}"}


def main() -> None:
    """Print the numbers, or write them."""
    if sys.argv[1:] == ["--write"]:
        for file, text in written().items():
            file.write_text(text, "utf-8")
        return
    print(numbers())
    for place in asking(modules()):
        print(f"  {'match' if place.exhaustive else 'ASKS '} {place.file}: {place.function}")
    for pair in two_way(imports(modules())):
        print("  both ways:", *pair)


if __name__ == "__main__":
    main()
