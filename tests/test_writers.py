"""Nothing but ``histokeras.files`` opens a file for writing: read from the source, call by call."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("histokeras", "examples", "benchmarks")
ONLY_WRITER = "histokeras/files.py"
# What a library is handed instead of a final name: memory, or a path of `files` (see below).
MEMORY = frozenset({"buffer"})
HANDED = frozenset({"part", "scratch"})
GIVERS = frozenset({"temporary_path", "scratch_path"})
OPENERS = frozenset({"open", "io.open", "h5py.File", "gzip.open", "tarfile.open", "os.open"})
READERS = frozenset({"Image.open", "PillowImage.open"})
WRITES = frozenset({
    "write_text", "write_bytes", "touch", "mkdir", "makedirs", "rename", "renames", "link_to",
    "symlink_to", "hardlink_to", "save_file", "save_weights", "savetxt", "savez",
    "savez_compressed", "tofile", "to_excel", "to_hdf", "to_parquet", "to_pickle", "to_feather",
    "imwrite", "imsave", "copyfile", "copy2", "copytree", "move", "make_archive", "urlretrieve",
    "write_html", "extractall", "NamedTemporaryFile", "mkstemp", "open_memmap",
})  # fmt: skip
TO_FIRST = frozenset({"save", "savefig", "TiffWriter", "ZipFile", "memmap", "to_csv", "to_json"})
"""Calls that write where a first argument names a place; some return the content without one."""
RETURNS_BYTES = frozenset({"safetensors.numpy.save"})
ALLOWED = {
    # The standard error of a library that talks goes nowhere.
    "histokeras/models/quiet.py": {"os.open"},
    # A temporary folder of its own, for slides that are measured.
    "benchmarks/bags.py": {"h5py.File"},
    "benchmarks/extract.py": {"made.mkdir"},
}


def written(tree: ast.AST) -> Iterator[str]:
    """Yield the name of every call that may open a file for writing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rsplit(".", 1)[-1]
        # Functions of ours have the same names as methods of pathlib; they are called bare.
        own = called == name or called.startswith("files.")
        # pandas renames columns.
        in_memory = any(word.arg == "columns" for word in node.keywords)
        if (
            (
                (called in OPENERS or name == "open" or called == "h5py.File")
                and _for_writing(node, called)
            )
            or (name in WRITES and not own and not in_memory)
            or (name in TO_FIRST and called not in RETURNS_BYTES and _to_a_place(node))
        ):
            yield called


def _for_writing(node: ast.Call, called: str) -> bool:
    if called == "os.open":
        return "O_RDONLY" not in ast.unparse(node)
    is_function = called in OPENERS
    target = node.args[0] if is_function else node.func.value  # type: ignore[attr-defined]
    if ast.unparse(target) in MEMORY | HANDED:
        return False
    modes = [*node.args[is_function : is_function + 1]]
    modes += [word.value for word in node.keywords if word.arg == "mode"]
    # A mode that is no plain text could be any; `Image.open(path)` has none.
    return called not in READERS and any(
        not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+") for mode in modes
    )


def _to_a_place(node: ast.Call) -> bool:
    if ast.unparse(node.func) == "zipfile.ZipFile" and len(node.args) + len(node.keywords) == 1:
        return False  # opened for reading
    return bool(node.args) and ast.unparse(node.args[0]) not in MEMORY | HANDED


def misnamed(tree: ast.AST) -> Iterator[str]:
    """Yield what gives a name that only memory or `files` may give."""
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem) and node.optional_vars is not None:
            giver = ast.unparse(node.context_expr).split("(")[0].rsplit(".", 1)[-1]
            if ast.unparse(node.optional_vars) in HANDED and giver not in GIVERS:
                yield giver
        if isinstance(node, ast.Assign):
            names = {ast.unparse(target) for target in node.targets}
            if names & MEMORY and ast.unparse(node.value) not in ("io.BytesIO()", "io.StringIO()"):
                yield "buffer ="


def found(source: str) -> list[str]:
    tree = ast.parse(source)
    return [*written(tree), *misnamed(tree)]


def test_only_files_opens_files_for_writing() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    names = {path.relative_to(ROOT).as_posix(): path for path in paths}
    seen = {name: set(found(path.read_text(encoding="utf-8"))) for name, path in names.items()}

    others = {name: calls for name, calls in seen.items() if calls and name != ONLY_WRITER}

    # Both ways round: what is allowed is there, and what is there is allowed.
    assert others == ALLOWED
    assert {"folder.mkdir", "part.write_bytes", "probe.write_bytes"} <= seen[ONLY_WRITER]


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')", "path.open('ab')", "path.open(mode='x')", "open(path, mode)",
        "io.open(path, 'r+b')", "os.open(path, os.O_CREAT)", "h5py.File(path, 'w')",
        "path.write_text('a')", "np.savez(path, a=a)", "image.save(path)", "plt.savefig(path)",
        "table.to_csv(path)", "tifffile.imwrite(path, a)", "tifffile.TiffWriter(path)",
        "safetensors.numpy.save_file(a, path)", "model.save(path)", "np.save(path, a)",
        "zipfile.ZipFile(path, 'w')", "path.rename(other)", "shutil.copyfile(a, b)",
        "with open(path) as part: pass", "buffer = folder / 'a.png'",
    ],
)  # fmt: skip
def test_a_writer_is_seen(line: str) -> None:
    assert found(line)


@pytest.mark.parametrize(
    "line",
    [
        "open(path)", "path.open('rb')", "source.open()", "PillowImage.open(path)",
        "image.save(buffer, 'PNG')", "table.to_csv(index=False)", "write_text(path, 'a')",
        "files.write_bytes(path, b'')", "part.open('wb')", "h5py.File(path, 'r')",
        "safetensors.numpy.save(arrays)", "os.open(path, os.O_RDONLY)",
        "with files.temporary_path(path) as part, tifffile.TiffWriter(part) as writer: pass",
    ],
)  # fmt: skip
def test_a_reader_is_let_pass(line: str) -> None:
    assert not found(line)
