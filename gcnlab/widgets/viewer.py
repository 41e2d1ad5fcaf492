"""The explorer's browser part as a widget: it sends what to show and receives what was changed.

Everything is sent as messages, not as the widget's state: a saved notebook would keep the state, and
an atlas has megabytes. What was sent is remembered for views that are opened later.
"""

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.widgets.packing import pack_atlas
from gcnlab.widgets.page import BROWSER, viewer_script, viewer_style
from gcnlab.widgets.worker import Lock

LARGEST = 8_000_000
"""Bytes of an atlas that is sent in float32; a larger one is sent in eight bits."""


class FieldViewer(anywidget.AnyWidget):
    """Pictures of fields that follow the mouse, with their controls.

    Args:
        lock: held while messages are sent and received.
        on_change: called with what the user changed, as a dict of `browser/viewer.js`'s state, and
            with the name of the view.
        on_file: called with the name and the content of a file that the user adds.
        on_save: returns the content of a file that the user saves; called with its suffix.
    """

    _esm = f"{viewer_script()}\n{(BROWSER / 'live.js').read_text(encoding='utf-8')}"

    stylesheet = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        lock: Lock,
        on_change: Callable[[dict[str, Any], str], None],
        on_file: Callable[[str, bytes], None],
        on_save: Callable[[str], bytes],
    ):
        self._lock = lock
        self._on_change, self._on_file, self._on_save = on_change, on_file, on_save
        # Kind and place of a message → the latest one, in the order in which they are needed.
        self._sent: dict[tuple, tuple[dict[str, Any], list[bytes]]] = {}
        self._steps: dict[tuple, int | None] = {}  # the level of each atlas that was sent
        self._views = 0
        super().__init__(stylesheet=viewer_style())
        self.on_msg(self._receive)

    def show_scene(self, scene: dict[str, Any]) -> None:
        """Show another picture, networks or rows; fields have to be sent again."""
        self._sent.clear()
        self._steps.clear()
        self._post(("scene",), {"scene": scene})

    def show_state(self, state: dict[str, Any], origin: str | None = None) -> None:
        """Set the controls and what is selected.

        Args:
            state: values of `browser/viewer.js`'s state.
            origin: the view whose user changed it. Its user may have gone on since, so it only takes
                over what the kernel decides.
        """
        scene = self._sent["scene",][0]["scene"]
        scene["state"] |= state  # for views that are opened later
        self._deliver({"kind": "state", "state": state, "origin": origin})

    def has_prediction(self, network: int) -> bool:
        """Whether the prediction of a network was sent for this scene."""
        return ("prediction", network) in self._sent

    def show_prediction(self, network: int, prediction: dict[str, str]) -> None:
        """Show the classes that a network predicts, a packed array."""
        self._post(("prediction", network), {"network": network, "prediction": prediction})

    def show_controls(self, controls: list[dict[str, Any]]) -> None:
        """Replace the controls that need a kernel (`gcnlab.widgets.menus`)."""
        self._sent["scene",][0]["scene"]["controls"] = controls  # for views that are opened later
        self._deliver({"kind": "controls", "controls": controls})

    def show_problem(self, text: str, error: bool = True) -> None:
        """Show why something that the user asked for was refused, or was done in another way."""
        self._deliver({"kind": "problem", "text": text, "error": error})

    def show_atlas(self, network: int, table: AtlasTable, extras: dict[str, Any]) -> None:
        """Show an atlas, or a finer one of the same occluder; for `extras`, see `pack_atlas`."""
        key, step = ("atlas", network, extras["occluder"]), table.finest_step
        if self._steps.get(key) == step:
            return
        self._steps[key] = step
        if table.complete and table.precision == "float32" and table.values.nbytes > LARGEST:
            table = table.stored_as("int8")
        facts, numbers = pack_atlas(table, extras)
        self._post(key, {"network": network, "facts": facts}, [numbers])

    def keep_atlases(self, occluders: list[str]) -> None:
        """Forget the atlases of other occluders than these."""
        for key in [key for key in self._steps if key[2] not in occluders]:
            del self._steps[key], self._sent[key]
        self._deliver({"kind": "keep", "occluders": occluders})

    def show_status(self, row: int, network: int, **status: Any) -> None:
        """Show progress, a note or an error: busy, progress (0 … 1), note, error."""
        self._post(("status", row, network), {"row": row, "network": network, "status": status})

    def show_answer(self, row: int, network: int, answer: dict[str, Any], values: bytes) -> None:
        """Show the field of one pixel."""
        message = {"row": row, "network": network, "answer": answer}
        self._post(("answer", row, network), message, [values])

    def _post(
        self, key: tuple, message: dict[str, Any], buffers: list[bytes] | None = None
    ) -> None:
        message, buffers = {"kind": key[0]} | message, buffers or []
        with self._lock:
            self._sent[key] = message, buffers
            self._deliver(message, buffers)

    def _deliver(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        if self._views:
            self.send(message, buffers)

    def _receive(self, widget: object, message: dict[str, Any], buffers: list) -> None:
        with self._lock:
            if message.get("kind") == "ready":
                self._views += 1
                for sent, own in self._sent.values():
                    self.send(sent | {"to": message["view"]}, own)
            elif message.get("kind") == "change":
                self._on_change(message["changes"], message["view"])
            elif message.get("kind") == "file":
                self._on_file(message["name"], bytes(buffers[0]))
            elif message.get("kind") == "save":
                content = self._on_save(message["suffix"])
                name = f"fields{message['suffix']}"
                self.send({"kind": "saved", "name": name, "to": message["view"]}, [content])
