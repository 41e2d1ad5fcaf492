"""Execute a notebook without a browser, with a progress bar, and write it as an HTML page.

python notebooks/demo.py notebooks/00_quickstart.ipynb build/00_quickstart.html
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from tqdm import tqdm


def main(source: Path, page: Path) -> None:
    notebook = nbformat.read(source, as_version=4)
    code = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(total=code, unit="cell") as bar:
        NotebookClient(
            notebook,
            timeout=900,
            resources={"metadata": {"path": source.parent}},
            on_cell_start=lambda cell, cell_index: bar.set_postfix_str(_first_line(cell)),
            on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
        ).execute()
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    print(f"See {page}")


def _first_line(cell) -> str:
    return cell.source.split("\n", 1)[0][:40] if cell.cell_type == "code" else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
