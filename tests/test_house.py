"""The house is in order: what the pages promise exists, every requirement is pinned, and known smells are absent."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from itertools import chain
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
SOURCES = sorted((ROOT / "tilegen").rglob("*.py"))
SCRIPTS = [path for folder in ("benchmarks", "pipelines") for path in sorted((ROOT / folder).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def identifier(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(page: Path) -> Iterator[str]:
    """Lines of the bash blocks of a page, without their comments."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        yield from (line.partition("#")[0].strip() for line in block.splitlines())


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return canonical(re.split(r"[^\w.-]", requirement)[0])


# Pages


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_make_target_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {line.split()[1] for line in commands(page) if line.startswith("make ")}
    assert asked <= targets


def test_every_tilegen_command_of_the_readme_exists() -> None:
    from tilegen.cli.main import main

    lines = [line.split()[1:] for line in commands(ROOT / "README.md") if line.startswith("tilegen ")]
    assert lines
    for words in lines:
        command: click.Command = main
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, f"tilegen {' '.join(words)}: there is no {words[0]!r}"
            command, words = found, words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_local_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "file", re.findall(r"`([a-z_]+/[a-z_/.]*)`", (ROOT / "docs/architecture.md").read_text("utf-8"))
)
def test_every_file_of_the_page_on_architecture_exists(file: str) -> None:
    assert (ROOT / "tilegen" / file).exists() or (ROOT / file).exists()


PAGE_NAME = r"(?<![\w/.-])(?:docs|benchmarks)/[\w/.-]*\.md\b"
TEXTS = [
    *PAGES,
    *SOURCES,
    *SCRIPTS,
    *sorted((ROOT / "tests").rglob("*.py")),
]


# This file names made-up pages.
@pytest.mark.parametrize("path", [path for path in TEXTS if path != Path(__file__)], ids=identifier)
def test_every_page_that_is_named_exists(path: Path) -> None:
    named = re.findall(PAGE_NAME, path.read_text(encoding="utf-8"))
    assert [page for page in named if not (ROOT / page).exists()] == []


def test_a_page_that_is_named_is_seen() -> None:
    text = "see docs/a.md, (benchmarks/b-c.md) and `docs/adr/0001-x.md`. Not adocs/d.md, docs/images/e.jpg, docs/f.mdx"
    assert re.findall(PAGE_NAME, text) == ["docs/a.md", "benchmarks/b-c.md", "docs/adr/0001-x.md"]


@pytest.mark.parametrize("decision", DECISIONS, ids=identifier)
def test_every_decision_has_its_sections(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")
    assert text.startswith(f"# {decision.name[:4]}. ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Choice", "Rejected", "Consequences"]
    assert re.search(r"^Status: (accepted|proposed|replaced by \d{4})", text, re.MULTILINE)


# Packaging


def test_the_version_is_that_of_the_project() -> None:
    import tilegen

    assert tilegen.__version__ == PROJECT["version"] == metadata.version("tilegen")


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if "==" in line}
    asked = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    assert set(map(requirement_name, asked)) <= pinned


def test_no_pin_is_a_build_for_one_device() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"\+|nvidia|triton|://", text)


def distributions_imported() -> set[frozenset[str]]:
    """For each third-party import of the package, the names of the distributions that may provide it."""
    providers = metadata.packages_distributions()
    names = {
        name.partition(".")[0]
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported_names(node)
    }
    return {frozenset(map(canonical, providers[name])) for name in names - {"tilegen"} if name in providers}


def test_the_package_requires_what_it_imports_and_no_more() -> None:
    required = set(map(requirement_name, PROJECT["dependencies"]))
    for_tests = {"hypothesis", "pytest"}  # tilegen.testing is for those who have them
    of_torch = {"triton"}  # comes with its CUDA builds, and is done without elsewhere
    imported = distributions_imported()
    assert [names for names in imported if not names & (required | for_tests | of_torch)] == []
    assert required - frozenset().union(*imported) == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


# Scripts, which neither mypy nor the suite runs


@pytest.mark.parametrize("script", SCRIPTS, ids=identifier)
def test_every_name_that_a_script_imports_from_tilegen_exists(script: Path) -> None:
    taken = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tilegen"
        for alias in node.names
    ]
    assert [pair for pair in taken if not hasattr(import_module(pair[0]), pair[1])] == []


# Smells. `code` has neither comments nor docstrings, so prose may name what code must not do.


def code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


RANDOM = r"\btorch\.(rand|normal|manual_seed|Generator)|\b(np|numpy)\.random|default_rng|^\s*(import|from) random\b"
OBJECTS = r"^\s*(import|from) (pickle|cloudpickle|dill|joblib|marshal|shelve)\b|(?<![.\w])(eval|exec)\("
UNSAFE_LOAD = r"(?<!safetensors\.)\btorch\.load\((?!.*weights_only=True)"
SMELLS = {
    "randomness that is not an address": (
        rf"^(?!.*nn\.Parameter\().*({RANDOM})",  # weights may begin anywhere
        ["fields", "tiling", "world.py", "model/synthesis.py", "model/modulation.py", "model/resample.py"],
    ),
    "padding in synthesis": (
        r"\bpadding=(?!0\b)|\bpadding_mode\b|\bF\.pad\(|ReflectionPad|ZeroPad",
        ["model/synthesis.py", "model/modulation.py", "model/mapping.py", "model/generator.py"],
    ),
    "statistics over space": (
        r"(Instance|Batch|Group|Layer)Norm|_norm\(|_pool\w*\(|MaxPool|AvgPool",
        ["model/synthesis.py", "model/modulation.py", "model/mapping.py", "model/generator.py"],
    ),
    "a bare except": (r"\bexcept:", ["."]),
    "an except that catches everything": (
        r"\bexcept \(?(Base)?Exception\b",
        ["config.py", "world.py", "geometry", "fields", "model", "training", "tiling"],
    ),
    "code in data": (f"{OBJECTS}|{UNSAFE_LOAD}", ["."]),
    "a device chosen inside": (r"\.cuda\(|device='cuda|device=\"cuda", ["."]),
    "blending": (r"\b(feather|blend)\w*", ["tiling", "world.py"]),
    "a change of the process at import": (r"^(os\.environ|warnings\.(simple)?filter|torch\.set_)", ["."]),
}


def files_below(places: list[str]) -> list[Path]:
    roots = [ROOT / "tilegen" / place for place in places]
    return [path for path in SOURCES if any(path == root or path.is_relative_to(root) for root in roots)]


def lines_with(pattern: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(pattern, line)]


@pytest.mark.parametrize("smell", SMELLS)
def test_the_code_is_free_of(smell: str) -> None:
    pattern, places = SMELLS[smell]
    found = {identifier(path): lines_with(pattern, code(path)) for path in files_below(places)}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("smell", "line"),
    [
        ("randomness that is not an address", "x = torch.randn(3)"),
        ("randomness that is not an address", "rng = np.random.default_rng(7)"),
        ("padding in synthesis", "F.conv2d(x, weight, padding=1)"),
        ("statistics over space", "F.instance_norm(x)"),
        ("a bare except", "except:"),
        ("an except that catches everything", "except (Exception, OSError) as error:"),
        ("code in data", "import pickle"),
        ("code in data", "torch.load(path)"),
        ("code in data", "eval(text)"),
        ("a device chosen inside", "network.cuda()"),
        ("blending", "weights = feathered(edge)"),
        ("a change of the process at import", "os.environ['A'] = '1'"),
    ],
)
def test_a_planted_smell_is_found(smell: str, line: str) -> None:
    assert lines_with(SMELLS[smell][0], line) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "network.eval()",
        "F.conv2d(x, weight, padding=0)",
        "except OSError:",
        "safetensors.torch.load(data)",
        "torch.load(path, weights_only=True)",
    ],
)
def test_what_is_fine_is_no_smell(line: str) -> None:
    assert [smell for smell, (pattern, _) in SMELLS.items() if lines_with(pattern, line)] == []


@pytest.mark.parametrize("smell", SMELLS)
def test_the_places_of_a_smell_exist(smell: str) -> None:
    assert all((ROOT / "tilegen" / place).exists() for place in SMELLS[smell][1])


def test_tests_fake_nothing_behind_the_back_of_the_code() -> None:
    """Seams have fakes in `tilegen.testing`; environment variables and the working directory may be patched."""
    pattern = r"^\s*(import|from) (unittest\.)?mock\b|\bmonkeypatch\.(set|del)(attr|item)\("
    found = {identifier(path): lines_with(pattern, code(path)) for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_a_file_is_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_no_file_is_named_after_nothing(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "base", "misc", "core"}
