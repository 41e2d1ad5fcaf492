"""The exercises: solved they pass, unsolved they fail with a helpful message, and so do the usual mistakes."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
EXERCISES = ROOT / "notebooks" / "exercises"
NAMES = sorted(path.stem for path in EXERCISES.glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def grading(cell):
    return cell.metadata.nbgrader


def run(cells, answers=None):
    """Execute the cells as a notebook would go on after an error; grade id → what was raised, of the checks."""
    names, failures = {"__name__": "__main__"}, {}
    for cell in cells:
        source = (answers or {}).get(grading(cell).grade_id, cell.source)
        try:
            exec(compile(source, grading(cell).grade_id, "exec"), names)
        except Exception as error:
            failures[grading(cell).grade_id] = error
    return failures


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The students' notebooks, made by nbgrader as `make exercises` makes them."""
    folder = tmp_path_factory.mktemp("course")
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "exercises"]
    command += ["--no-db", f"--CourseDirectory.release_directory={folder}"]
    done = subprocess.run(command, cwd=EXERCISES, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "exercises"


def test_there_is_one_per_lesson():
    assert NAMES == [
        "01_why_large_kernels",
        "02_building_a_gcn",
        "03_receptive_fields",
        "04_boundary_and_interior",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_pass(name):
    assert run(code_cells(EXERCISES / f"{name}.ipynb")) == {}


@pytest.mark.parametrize("name", NAMES)
def test_unsolved_every_check_fails_and_says_why(released, name):
    source, student = (
        code_cells(EXERCISES / f"{name}.ipynb"),
        code_cells(released / f"{name}.ipynb"),
    )
    text = (released / f"{name}.ipynb").read_text()
    assert "SOLUTION" not in text
    assert [grading(c).grade_id for c in student] == [grading(c).grade_id for c in source]
    checks = [grading(cell).grade_id for cell in student if grading(cell).grade]
    failures = run(student)
    assert list(failures) == checks
    for error in failures.values():
        assert "nothing is here yet: put your code in place of this line" in str(error)


def test_the_written_answers_are_taken_out(released):
    for name in NAMES:
        cells = nbformat.read(released / f"{name}.ipynb", as_version=4).cells
        (answer,) = (c for c in cells if c.cell_type == "markdown" and "nbgrader" in c.metadata)
        assert answer.source == "YOUR ANSWER HERE"


def test_the_points_are_those_that_the_introduction_promises():
    for name in NAMES:
        cells = nbformat.read(EXERCISES / f"{name}.ipynb", as_version=4).cells
        graded = [c.metadata.nbgrader for c in cells if c.metadata.get("nbgrader", {}).get("grade")]
        points = sum(item.points for item in graded)
        assert f"{points} points" in cells[0].source
        for number, item in enumerate(graded, start=1):
            (task,) = (c.source for c in cells if c.source.startswith(f"## Task {number}:"))
            assert f"({item.points} point" in task


MISTAKES = [
    ("01_why_large_kernels", "visible-share", "row, column = pixel", "return 100 * 0.01", "not a percentage"),
    ("01_why_large_kernels", "visible-share", "max(0, row - reach)", "row - reach", "negative start of a slice"),
    ("01_why_large_kernels", "smallest-window", "2 * int(distances.max()) + 1", "int(distances.max())", "in the middle"),
    ("01_why_large_kernels", "kernel-needed", "< side", "<= side", "just enough"),
    ("01_why_large_kernels", "weights", "(c + n) * n", "c * n", r"gcn_weights\(8, 3, 5\) is 240, but should be 330"),
    ("01_why_large_kernels", "lost-from", "            break", "            continue", "the first one is alone"),
    ("02_building_a_gcn", "composed", "torch.outer(column, row)", "torch.outer(row, column)", "wrong order"),
    ("02_building_a_gcn", "same-padding", "kernel_size[0] // 2, kernel_size[1] // 2", "kernel_size[1] // 2, kernel_size[0] // 2", "right numbers in the wrong order"),
    ("02_building_a_gcn", "same-padding", "side % 2 == 0", "side < 0", "should raise a ValueError"),
    ("02_building_a_gcn", "gcn-block", "bias=False", "bias=True", "set bias=False"),
    ("02_building_a_gcn", "gcn-block", "padding=same_padding(size)", "padding=same_padding(size)[::-1]", "All of them are within 3 of the border"),
    ("02_building_a_gcn", "gcn-block", "self.branch_a(x) + ", "", "map of your GCN is wrong at"),
    ("02_building_a_gcn", "refine", "scores + ", "", "S has to be added"),
    ("02_building_a_gcn", "separate", " * sizes[:rank]", "", "singular values in the product"),
    ("03_receptive_fields", "field-size", "(kernel - 1) * spacing", "(kernel - 1)", "each step counts two pixels"),
    ("03_receptive_fields", "sees", "reversed(layers)", "layers", "from the output back"),
    ("03_receptive_fields", "gradient", ".abs().sum(0)", ".sum(0)", "take the absolute value"),
    ("03_receptive_fields", "gradient", ".abs().sum(0)", ".abs()", "a map per colour"),
    ("03_receptive_fields", "discrepancy", "image.clone()\n", "image\n", "the image itself was changed"),
    ("03_receptive_fields", "discrepancy", "total / count", "total", "divide by how many"),
    ("03_receptive_fields", "discrepancy", "clean - network(hidden", "network(hidden", "discrepancy"),
    ("03_receptive_fields", "coverage", "discrepancy.abs()", "discrepancy", "mind the sign"),
    ("04_boundary_and_interior", "edges", "    found[:-1] |= down\n", "", "edges is wrong at"),
    ("04_boundary_and_interior", "boundary", "<= distance", "< distance", "within 1 pixels"),
    ("04_boundary_and_interior", "boundary", "label != VOID and ", "", "belong to neither"),
    ("04_boundary_and_interior", "two-accuracies", " & (labels != VOID)", "", "right but for void"),
    ("04_boundary_and_interior", "mean-iou", "if union > 0:", "if True:", "do not occur do not count"),
    ("04_boundary_and_interior", "mean-iou", "(prediction == label) | (labels == label)", "(labels == label)", "mean_iou is"),
    ("04_boundary_and_interior", "bad-predictions", "torch.where(boundary(labels, distance), labels, background)", "torch.where(boundary(labels, distance), background, labels)", "the outline right"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "task", "right", "wrong", "message"),
    MISTAKES,
    ids=[f"{name[:2]}-{task}-{i}" for i, (name, task, *_) in enumerate(MISTAKES)],
)
def test_a_usual_mistake_is_named(name, task, right, wrong, message):
    cells = code_cells(EXERCISES / f"{name}.ipynb")
    (solution,) = (c.source for c in cells if grading(c).grade_id == task)
    assert right in solution, "the mistake is made in the solution's own words"
    at = [grading(c).grade_id for c in cells].index(f"{task}-check")
    failures = run(cells[: at + 1], {task: solution.replace(right, wrong)})
    assert list(failures) == [f"{task}-check"]
    with pytest.raises(AssertionError, match=message):
        raise failures[f"{task}-check"]
