"""Settings of nbgrader.

`make exercises` removes the solutions and writes the students' notebooks to build/release/exercises.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

c = get_config()
c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.source_directory = "notebooks"
c.CourseDirectory.release_directory = "build/release"
c.CourseDirectory.ignore = [Path(__file__).name, "__pycache__", ".ipynb_checkpoints"]
c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise NotImplementedError("no answer yet: replace this line by your code")'
}
