"""Imports point down, each heavy package has its place, and `import tilegen` is light.

`PARTS` is docs/architecture.md as data. Planted faults at the end show that the walk sees what it should.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tilegen"
NOWHERE: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the modules of one part may import. The longest prefix that fits a module decides.

    `below`: parts of tilegen, at the top of a file or inside a function.
    `top`: third-party packages, at the top or inside a function.
    `late`: third-party packages, inside a function only.
    """

    below: frozenset[str] = NOWHERE
    top: frozenset[str] = NOWHERE
    late: frozenset[str] = NOWHERE


WORDS = names("tilegen.errors tilegen.amounts tilegen.atomic tilegen.bands tilegen.config tilegen.geometry")
DATA = WORDS | names("tilegen.data")
MAKERS = DATA | names("tilegen.fields tilegen.model tilegen.squeezenet")
RENDERING = WORDS | names("tilegen.tiling")
CATALOGUES = RENDERING | names("tilegen.catalog")
SERVING = RENDERING | names("tilegen.server")
EVERYTHING = (
    MAKERS
    | RENDERING
    | names("tilegen.catalog tilegen.metrics tilegen.training tilegen.renderer tilegen.world tilegen.world_file")
    | names("tilegen.weights tilegen")
)
ARRAYS = names("numpy jaxtyping")
TENSORS = ARRAYS | names("torch")

PARTS = {
    # The front door loads what it names on first use.
    "tilegen": Part(below=EVERYTHING),
    # 0 words: the standard library only, but for three files
    "tilegen.errors": Part(),
    "tilegen.amounts": Part(below=WORDS),
    "tilegen.atomic": Part(below=WORDS),
    "tilegen.bands": Part(below=WORDS),
    "tilegen.config": Part(below=WORDS, top=names("dacite")),
    "tilegen.geometry": Part(below=WORDS),
    "tilegen.geometry.georef": Part(below=WORDS, top=names("affine pyproj")),
    "tilegen.geometry.utm": Part(below=WORDS, top=names("pyproj")),
    # 1 randomness, networks, tiles
    "tilegen.native": Part(top=names("torch")),
    "tilegen.native.gpu": Part(top=names("triton")),
    "tilegen.fields": Part(below=WORDS | names("tilegen.native"), top=TENSORS),
    "tilegen.model": Part(
        below=WORDS | names("tilegen.fields tilegen.native"), top=TENSORS - names("numpy") | names("safetensors")
    ),
    "tilegen.tiling": Part(below=RENDERING, top=ARRAYS),
    "tilegen.tiling.aoi": Part(below=RENDERING, top=ARRAYS | names("shapely")),
    "tilegen.tiling.aoi_file": Part(below=RENDERING, top=ARRAYS | names("pyogrio pyproj shapely")),
    "tilegen.tiling.like": Part(below=RENDERING, top=names("rasterio zarr")),
    "tilegen.tiling.lazy": Part(below=RENDERING, top=ARRAYS | names("dask rioxarray xarray")),
    "tilegen.tiling.finished": Part(below=RENDERING, top=ARRAYS | names("rasterio zarr")),
    "tilegen.tiling.stored": Part(below=RENDERING, top=ARRAYS | names("rasterio zarr")),
    "tilegen.tiling.stored_source": Part(below=RENDERING, top=ARRAYS | names("zarr")),
    "tilegen.tiling.preview": Part(below=RENDERING, top=ARRAYS | names("PIL rasterio zarr")),
    "tilegen.tiling.verify": Part(below=RENDERING, top=ARRAYS | names("rasterio zarr")),
    "tilegen.tiling.plan": Part(below=RENDERING, top=ARRAYS | names("psutil")),
    "tilegen.tiling.cluster": Part(below=RENDERING, top=names("dask distributed")),
    "tilegen.tiling.performance": Part(below=RENDERING, top=names("distributed")),
    "tilegen.tiling.workers": Part(below=RENDERING, top=names("distributed")),
    "tilegen.tiling.flight": Part(below=RENDERING, top=names("distributed")),
    "tilegen.tiling.schedule": Part(below=RENDERING, top=names("distributed")),
    "tilegen.tiling.task": Part(below=RENDERING, top=names("distributed")),
    "tilegen.tiling.sinks.geo_keys": Part(below=RENDERING, top=ARRAYS | names("rasterio")),
    "tilegen.tiling.sinks.tile_codec": Part(below=RENDERING, top=ARRAYS | names("imagecodecs")),
    "tilegen.tiling.sinks.remote": Part(below=RENDERING, top=ARRAYS | names("botocore obstore zarr")),
    "tilegen.tiling.sinks.zarr": Part(below=RENDERING, top=ARRAYS),
    "tilegen.tiling.sinks.zarr_layout": Part(below=RENDERING, top=ARRAYS | names("zarr")),
    "tilegen.tiling.sinks.zarr_attributes": Part(below=RENDERING, top=ARRAYS | names("affine pyproj")),
    # 1 a trained network, for judges and for makers
    "tilegen.squeezenet": Part(below=WORDS, top=TENSORS | names("safetensors")),
    "tilegen.tiling.lossy": Part(below=RENDERING, top=ARRAYS),
    # 2 catalogues: what stands in files beside products
    "tilegen.catalog": Part(below=CATALOGUES, top=names("pyproj pystac")),
    "tilegen.catalog.facts": Part(below=CATALOGUES, top=names("rasterio zarr")),
    "tilegen.catalog.place": Part(below=WORDS, top=names("numpy pyproj shapely")),
    # 1 data: imagery to one packed file; reading that file needs no GDAL
    "tilegen.data": Part(below=DATA, top=TENSORS | names("safetensors")),
    "tilegen.data.chips": Part(below=DATA, top=ARRAYS | names("affine rasterio")),
    "tilegen.data.pictures": Part(below=DATA, top=ARRAYS | names("PIL")),
    "tilegen.data.report": Part(below=DATA, top=names("PIL")),
    "tilegen.data.spacenet": Part(below=DATA, top=ARRAYS),
    "tilegen.data.spacenet.bucket": Part(below=DATA, top=names("urllib3")),
    "tilegen.data.spacenet.geojson": Part(below=DATA, top=ARRAYS | names("shapely")),
    "tilegen.data.spacenet.ground": Part(below=DATA, top=ARRAYS | names("pyproj shapely")),
    "tilegen.data.spacenet.labels": Part(below=DATA, top=ARRAYS | names("affine pyproj rasterio shapely")),
    "tilegen.data.spacenet.resample": Part(below=DATA, top=ARRAYS | names("affine pyproj rasterio")),
    # 2 makers of generators
    "tilegen.training": Part(below=MAKERS | names("tilegen.training"), top=TENSORS | names("safetensors")),
    "tilegen.training.monitor": Part(
        below=MAKERS | names("tilegen.training"), top=ARRAYS, late=names("tensorboard torch")
    ),
    "tilegen.training.sheets": Part(below=MAKERS | names("tilegen.training"), top=TENSORS | names("PIL")),
    # 2 judges of images: they take pixels and callables, never a network or a file of chips
    "tilegen.metrics": Part(
        below=WORDS | names("tilegen.metrics tilegen.squeezenet"), top=TENSORS | names("scipy torchmetrics")
    ),
    "tilegen.metrics.sheets": Part(below=WORDS | names("tilegen.metrics"), top=TENSORS | names("PIL")),
    # 3 the joint
    "tilegen.renderer": Part(below=MAKERS | RENDERING | names("tilegen.weights"), top=TENSORS),
    "tilegen.world": Part(
        below=MAKERS | RENDERING | names("tilegen.renderer tilegen.weights tilegen.world_file"),
        top=TENSORS,
        late=names("xarray"),
    ),
    # Light at the top: xarray loads both for every file that it does not know.
    "tilegen.world_file": Part(below=MAKERS),
    "tilegen.xarray_engine": Part(below=EVERYTHING, top=names("xarray")),
    "tilegen.__main__": Part(below=names("tilegen.cli")),
    # 4 edges: a server, which a command loads when it runs
    "tilegen.server": Part(below=SERVING, top=ARRAYS | names("morecantile starlette")),
    "tilegen.server.download": Part(below=SERVING, top=ARRAYS | names("rasterio")),
    "tilegen.server.encoding": Part(below=SERVING, top=ARRAYS | names("PIL")),
    "tilegen.server.grid": Part(below=SERVING, top=names("affine morecantile pyproj")),
    "tilegen.server.mercator": Part(below=SERVING, top=ARRAYS | names("affine morecantile pyproj rasterio")),
    "tilegen.server.products": Part(below=SERVING, top=ARRAYS | names("rasterio zarr")),
    "tilegen.server.run": Part(below=SERVING, top=names("starlette uvicorn")),
    "tilegen.server.worlds": Part(below=EVERYTHING | SERVING, top=ARRAYS),
    # 4 edges: light at the top, anything inside a command
    "tilegen.cli": Part(
        below=EVERYTHING | SERVING,
        top=names("click rich"),
        late=names("dask distributed numpy PIL rasterio torch xarray zarr"),
    ),
    # beside: fakes and strategies for tests, and the default weights
    "tilegen.testing": Part(
        below=MAKERS | SERVING, top=TENSORS | names("distributed hypothesis pytest rasterio safetensors shapely")
    ),
    "tilegen.weights": Part(),
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One import statement of one module."""

    module: str
    target: str
    late: bool  # inside a function, or for type checkers only
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.module} imports {self.target}{' (late)' if self.late else ''}"


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files(package: Path) -> dict[str, Path]:
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def import_nodes(node: ast.AST, late: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import below `node`, and whether it runs later than the import of the file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from import_nodes(child, late or deferred or is_for_type_checkers(child))


def targets(node: ast.Import | ast.ImportFrom, module: str, is_package: bool, known: set[str]) -> list[str]:
    """Absolute names of what a statement imports: modules of the package where they exist, else as written."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    source = node.module or ""
    if node.level:
        anchor = module.split(".")
        anchor = anchor[: len(anchor) - node.level + is_package]
        source = ".".join([*anchor, source] if source else anchor)
    found = {f"{source}.{alias.name}" for alias in node.names} & known
    rest = {alias.name for alias in node.names} - {name.rpartition(".")[2] for name in found}
    return sorted(found | ({source} if rest else set()))


def imports(package: Path) -> list[Import]:
    files = source_files(package)
    return [
        Import(module=module, target=target, late=late, place=f"{path.relative_to(package.parent)}:{node.lineno}")
        for module, path in files.items()
        for node, late in import_nodes(ast.parse(path.read_text(encoding="utf-8")))
        for target in targets(node, module, path.name == "__init__.py", set(files))
    ]


def part_of(module: str, parts: dict[str, Part]) -> str | None:
    """The longest key of `parts` that is `module` or one of its parents; the root speaks for itself alone."""
    root = module.partition(".")[0]
    fits = [name for name in parts if module == name or (name != root and module.startswith(f"{name}."))]
    return max(fits, key=len, default=None)


def allows(part: Part, found: Import) -> bool:
    top_level = found.target.partition(".")[0]
    if top_level == found.module.partition(".")[0]:
        return any(
            found.target == name or found.target.startswith(f"{name}.") for name in part.below - {top_level}
        ) or (found.target == top_level and top_level in part.below)
    if top_level in sys.stdlib_module_names:
        return True
    return top_level in part.top or (found.late and top_level in part.late)


def wrong_imports(package: Path, parts: dict[str, Part]) -> list[str]:
    """Every import that its part does not allow; imports within a part are always fine."""
    wrong = []
    for found in imports(package):
        name = part_of(found.module, parts)
        if name is None:
            wrong.append(
                f"{found.place}: {found.module} belongs to no part; add it to PARTS and to docs/architecture.md"
            )
        elif part_of(found.target, parts) != name and not allows(parts[name], found):
            wrong.append(str(found))
    return wrong


def import_cycle(package: Path) -> list[str]:
    """Modules that import each other in a ring while they load; empty when there is none."""
    graph: dict[str, set[str]] = {module: set() for module in source_files(package)}
    for found in imports(package):
        if not found.late and found.target in graph and found.target != found.module:
            graph[found.module].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_point_downwards() -> None:
    wrong = wrong_imports(PACKAGE, PARTS)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_exists(part: str) -> None:
    path = PACKAGE.parent.joinpath(*part.split("."))
    assert path.is_dir() or path.with_suffix(".py").is_file()


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert not import_cycle(PACKAGE)


def test_nothing_imports_pipelines_tests_or_benchmarks() -> None:
    outside = names("pipelines tests benchmarks")
    assert [str(found) for found in imports(PACKAGE) if found.target.partition(".")[0] in outside] == []


@pytest.mark.parametrize("part", sorted(PARTS))
def test_the_page_on_architecture_names_every_part(part: str) -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"`{part.removeprefix('tilegen.')}`" in page


# What really happens on import, in a fresh process without the type checks of the suite.

HEAVY = "dask distributed numpy rasterio torch xarray zarr"


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def walk(parts: str) -> str:
    """Code that imports every module of some parts."""
    return f"""
import importlib, pkgutil
for part in {parts.split()}:
    package = importlib.import_module(part)
    for module in pkgutil.walk_packages(getattr(package, "__path__", ()), part + "."):
        importlib.import_module(module.name)
"""


def block(packages: str) -> str:
    """Code after which some packages cannot be imported."""
    return f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages.split()}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""


LIST_HEAVY = f"""
import sys
print(*sorted(set({HEAVY.split()}) & set(sys.modules)))
"""
GIS_AND_CLUSTER = "dask distributed imagecodecs rasterio rioxarray xarray zarr"


@pytest.mark.parametrize("module", ["tilegen", "tilegen.cli.main"])
def test_the_front_door_and_the_command_line_load_nothing_heavy(module: str) -> None:
    assert run_python(f"import {module}" + LIST_HEAVY) == ""


def test_no_command_loads_anything_heavy_before_it_runs() -> None:
    assert run_python(walk("tilegen.cli") + LIST_HEAVY) == ""


def test_the_list_of_loaded_packages_sees_numpy() -> None:
    assert run_python("import numpy" + LIST_HEAVY) == "numpy"


def test_networks_load_without_any_gis_or_cluster_package() -> None:
    run_python(block(f"{GIS_AND_CLUSTER} affine pyproj shapely") + walk("tilegen.fields tilegen.model"))


def test_training_loads_without_any_gis_or_cluster_package() -> None:
    """And so does what reads a packed dataset."""
    packed = "tilegen.training tilegen.data.dataset"
    run_python(block(f"{GIS_AND_CLUSTER} affine pyproj shapely") + walk(packed))


def test_judges_load_without_any_gis_or_cluster_package() -> None:
    run_python(block(f"{GIS_AND_CLUSTER} affine pyproj shapely") + walk("tilegen.metrics"))


def test_tiles_are_planned_drawn_and_written_without_torch() -> None:
    run_python(block("safetensors torch") + walk("tilegen.geometry tilegen.tiling"))


def test_a_blocked_package_cannot_be_imported() -> None:
    command = "\ntry:\n    import numpy\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert run_python(block("numpy") + command) == "numpy is blocked"


# The walk itself, on a made-up package with one fault at a time.

SMALL_PARTS = {
    "small": Part(below=names("small.low small.high")),
    "small.low": Part(),
    "small.high": Part(below=names("small.low"), top=names("numpy"), late=names("torch")),
    "small.high.disk": Part(below=names("small.low small.high"), top=names("zarr")),
}
CLEAN = {
    "__init__.py": "",
    "low.py": "import math\n",
    "high/__init__.py": "",
    "high/draw.py": "import numpy as np\nfrom ..low import x\n\ndef f():\n    import torch\n",
    "high/disk.py": "import zarr\nfrom small.high import draw\n",
}


def write_package(root: Path, changes: dict[str, str]) -> Path:
    for name, text in (CLEAN | changes).items():
        path = root / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "small"


def test_a_clean_package_passes(tmp_path: Path) -> None:
    package = write_package(tmp_path, {})
    assert wrong_imports(package, SMALL_PARTS) == []
    assert import_cycle(package) == []


@pytest.mark.parametrize(
    ("file", "text", "target"),
    [
        pytest.param("low.py", "from small.high import draw\n", "small.high.draw", id="upward"),
        pytest.param("low.py", "from small import high\n", "small.high", id="upward through the root"),
        pytest.param("low.py", "from .high.draw import f\n", "small.high.draw", id="upward and relative"),
        pytest.param("low.py", "def f():\n    import small.high.draw\n", "small.high.draw", id="upward and late"),
        pytest.param("low.py", "try:\n    import numpy\nexcept ImportError:\n    pass\n", "numpy", id="heavy in a try"),
        pytest.param("high/draw.py", "import torch\n", "torch", id="heavy at the top"),
        pytest.param("high/draw.py", "class A:\n    import zarr\n", "zarr", id="heavy in a class"),
        pytest.param("high/draw.py", "def f():\n    import zarr\n", "zarr", id="heavy and late"),
        pytest.param("new.py", "import math\n", "no part", id="a module without a part"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, text: str, target: str) -> None:
    wrong = wrong_imports(write_package(tmp_path, {file: text}), SMALL_PARTS)
    assert len(wrong) == 1
    assert target in wrong[0]


def test_a_planted_ring_is_found(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"high/draw.py": "from small.high import disk\n"})
    assert set(import_cycle(package)) == {"small.high.draw", "small.high.disk"}


def test_a_late_import_makes_no_ring(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"high/draw.py": "def f():\n    from small.high import disk\n"})
    assert import_cycle(package) == []
