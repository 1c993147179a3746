import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
TENSORFLOW_LOADED = "import sys\nprint('tensorflow' in sys.modules or 'keras' in sys.modules)"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def offline_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of this very interpreter, without network, cached slides or weights."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    # The tests' own setting would keep pictures out of the notebook.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def outputs(notebook: nbformat.NotebookNode, cell_id: str) -> list[nbformat.NotebookNode]:
    return next(cell.outputs for cell in notebook.cells if cell.id == cell_id)


def printed(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    found = outputs(notebook, cell_id)
    return "".join(out.text for out in found if out.get("name") == "stdout")


def shown(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    return {kind for out in outputs(notebook, cell_id) for kind in out.get("data", {})}


def test_the_stored_notebook_is_valid_and_holds_no_outputs(
    notebook: nbformat.NotebookNode,
) -> None:
    nbformat.validate(notebook)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert "blob/main/examples/quickstart.ipynb" in notebook.cells[0].source
    assert any("research use only" in cell.source for cell in notebook.cells)


def test_the_notebook_runs_offline_to_figures_and_a_map(
    notebook: nbformat.NotebookNode, offline_kernel: None, tmp_path: Path
) -> None:
    position = next(i for i, cell in enumerate(notebook.cells) if cell.id == "import")
    probe = nbformat.v4.new_code_cell(TENSORFLOW_LOADED, id="probe")
    notebook.cells.insert(position + 1, probe)
    folder = tmp_path / "work"
    folder.mkdir()

    # A cell that fails raises CellExecutionError, with its traceback.
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()

    assert printed(notebook, "probe").strip() == "False"
    assert outputs(notebook, "install") == []
    figures = printed(notebook, "fit")
    assert re.search(r"AUC large nuclei +\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", figures), figures
    assert "patient level: 16 patients" in figures
    for cell_id, kind in (("slide", "text/html"), ("tiles", "text/html"), ("map", "image/png")):
        assert kind in shown(notebook, cell_id)
