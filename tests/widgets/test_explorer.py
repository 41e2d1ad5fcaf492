import json
import re
import time

import numpy as np
import pytest
import torch
from models import Broken, NotFinite, Quarter, Slow, Summing, integer_image
from PIL import Image

from gcnlab.datasets import SHAPES
from gcnlab.receptive import HiddenLayer, gradient_field, region, valid_field
from gcnlab.widgets import VRFExplorer
from gcnlab.widgets.code import field_code
from gcnlab.widgets.painting import edges, paint
from gcnlab.widgets.viewer import FieldViewer

pytestmark = pytest.mark.slow

IMAGE = integer_image()
SHOWN = (IMAGE * 60).byte()


@pytest.fixture
def sent(monkeypatch):
    """The messages to the browser, once a view is open."""
    messages = []
    monkeypatch.setattr(
        FieldViewer, "send", lambda self, content, buffers=None: messages.append((content, buffers))
    )
    return messages


@pytest.fixture
def explore(sent):
    """VRFExplorer on the integer image, with one open view; closed at the end."""
    made = []

    def make(*models, **options):
        models = {f"model {i}": m for i, m in enumerate(models)}
        options = {"picture": SHOWN, "window": 8, "stride": 4, "pixel": (20, 32)} | options
        made.append(VRFExplorer(models, IMAGE, **options))
        made[-1]._viewer._receive(None, {"kind": "ready", "view": "v"}, [])
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()


def change(explorer, **changes):
    """What the browser reports when its user does something."""
    explorer._viewer._receive(None, {"kind": "change", "changes": changes, "view": "v"}, [])


def kinds(sent, kind):
    return [content for content, _ in sent if content["kind"] == kind]


def expected(model, pixel, threshold=0.8, rule="mass"):
    field = valid_field(model, IMAGE, pixel, window=8, stride=4, method="plain")
    return field, field.region(threshold, rule)


def test_shows_the_valid_field_of_every_model(explore):
    models = Summing(3), Summing(9)
    explorer = explore(*models).wait()
    for title, model in zip(explorer.answers, models):
        field, area = expected(model, (20, 32))
        answer = explorer.answer(title)
        assert torch.equal(answer.field, field.discrepancy)
        assert torch.equal(answer.region, area)
        assert answer.radius == pytest.approx(field.radius())
        assert answer.unit == (20, 32)
    for still, model in zip(explorer.stills[0], models):
        field, area = expected(model, (20, 32))
        assert (still.raster == paint(SHOWN, field.discrepancy, area)).all()
        assert still.segments["region"] == edges(area)
        assert dict(still.facts)["radius"] == f"{field.radius():.0f} px"


def test_every_pixel_is_answered_without_another_computation(explore):
    explorer = explore(Summing(3)).wait()
    generation = explorer._worker.generation
    for pixel in ((0, 0), (47, 63), (12, 40)):
        explorer.ask(pixel=pixel)
        kept = expected(Summing(3), explorer.answer("model 0").unit)
        assert torch.equal(explorer.answer("model 0").region, kept[1])
    assert explorer._worker.generation == generation


def test_the_pixel_is_answered_by_the_nearest_unit(sent):
    """An image of more than 64 pixels: every second pixel is kept."""
    image = integer_image(96, 80)
    explorer = VRFExplorer({"model": Summing(3)}, image, window=8, stride=4, pixel=(21, 33)).wait()
    field = valid_field(Summing(3), image, (20, 32), window=8, stride=4, method="plain")
    assert explorer.answer("model").unit == (20, 32)
    assert torch.equal(explorer.answer("model").field, field.discrepancy)
    explorer.close()


@pytest.mark.parametrize("method", ["exact", "drilldown", "gradient", "theoretical"])
def test_every_method_has_its_region(explore, method):
    model = Summing(5)
    explorer = explore(model, method=method, agreement=1.0).wait()
    answer = explorer.answers["model 0"]
    if method == "gradient":
        assert (answer.region == region(gradient_field(model, IMAGE, (20, 32)))).all()
    elif method == "theoretical":
        wanted = torch.zeros(48, 64, dtype=torch.bool)
        wanted[15:26, 27:38] = True
        assert (answer.region == wanted).all()
    else:
        assert (answer.region == expected(model, (20, 32))[1]).all()


def test_several_methods_are_rows(explore, sent):
    explorer = explore(Summing(3), Summing(9), method=("exact", "gradient")).wait()
    rows = kinds(sent, "scene")[-1]["scene"]["rows"]
    assert [row["method"] for row in rows] == ["atlas", "gradient"]
    assert [len(row) for row in explorer.stills] == [2, 2]
    explorer.ask(pixel=(8, 8)).wait()
    wanted = region(gradient_field(Summing(9), IMAGE, (8, 8)))
    assert torch.equal(explorer.answer("model 1", "gradient").region, wanted)
    assert torch.equal(explorer.answer("model 1").region, expected(Summing(9), (8, 8))[1])
    answers = [c for c in kinds(sent, "answer") if c["answer"]["pixel"] == [8, 8]]
    assert {(c["row"], c["network"]) for c in answers} == {(1, 0), (1, 1)}
    with pytest.raises(ValueError, match="one or more different methods"):
        explorer.ask(method=("exact", "exact"))
    with pytest.raises(ValueError, match="one or more different methods"):
        explorer.ask(method=())


def test_an_atlas_is_sent_once_per_level(explore, sent):
    explorer = explore(Summing(3), method=("exact", "gradient")).wait()
    shares = [message["facts"]["evaluated"] for message in kinds(sent, "atlas")]
    assert shares == sorted(set(shares))
    assert shares[-1] == 1
    explorer.ask(pixel=(8, 8)).wait()
    assert len(kinds(sent, "atlas")) == len(shares)


@pytest.mark.parametrize("method", ["exact", "drilldown", "gradient", "theoretical"])
@pytest.mark.parametrize("pixel", [(10, 10), (0, 63), (47, 5)])
def test_a_map_of_another_size_is_asked_at_the_unit_that_holds_the_pixel(explore, method, pixel):
    explorer = explore(Quarter(), method=method, pixel=pixel, window=4, stride=4).wait()
    answer = explorer.answers["model 0"]
    top, left = (p // 4 * 4 for p in pixel)
    wanted = torch.zeros(48, 64, dtype=torch.bool)
    wanted[top : top + 4, left : left + 4] = True
    assert torch.equal(answer.region, wanted)
    assert answer.logit == IMAGE[:, top : top + 4, left : left + 4].sum().item()
    assert dict(explorer.stills[0][0].facts)["unit"] == f"({top // 4}, {left // 4}) of 12×16"


def test_a_map_of_the_images_size_is_asked_without_a_word(explore):
    explorer = explore(Summing(3)).wait()
    assert "unit" not in dict(explorer.stills[0][0].facts)


def test_the_network_may_be_trained_while_the_explorer_works(explore):
    """The explorer has a copy: the caller's network is unchanged, and later changes have no effect."""
    model = Slow(2).train()
    explorer = explore(model, window=16, stride=16)
    assert model.training
    with torch.no_grad():
        model.conv.weight[0] = 5
    explorer.wait()
    assert model.training
    assert (model.conv.weight[0] == 5).all()
    field = valid_field(Slow(2), IMAGE, (20, 32), window=16, stride=16)
    assert torch.equal(explorer.answers["model 0"].field, field.discrepancy)


def test_what_the_user_selects_becomes_the_question(explore, sent):
    explorer = explore(Summing(3), Summing(9)).wait()
    change(explorer, pixel=[5, 60])
    assert explorer.question.pixel == (5, 60)
    change(explorer, pixel=[8, 8], pins=[[4, 4], [8, 8]])
    assert explorer.pins == [(4, 4), (8, 8)]
    # The view that reported it takes over only what the kernel decides.
    assert kinds(sent, "state")[-1]["origin"] == "v"
    explorer.ask(pixel=(20, 20))
    assert explorer.pins == []
    assert kinds(sent, "state")[-1]["origin"] is None
    assert kinds(sent, "state")[-1]["state"]["pixel"] == [20, 20]


def test_controls_change_the_question(explore, sent):
    explorer = explore(Summing(3)).wait()
    change(explorer, threshold=0.5)
    change(explorer, target=1)
    change(explorer, window=12, stride=12)
    explorer.wait()
    assert explorer.question.threshold == 0.5
    assert explorer.question.target == 1
    assert (explorer.question.stride, explorer.question.window) == (12, 12)
    assert kinds(sent, "atlas")[-1]["facts"]["occluder"] == "12 px every 12, target 1"
    change(explorer, target=None)
    assert explorer.question.target is None


def test_a_new_rule_gets_its_own_threshold(explore):
    model = Summing(3)
    explorer = explore(model).wait()
    assert (explorer.question.rule, explorer.question.threshold) == ("mass", 0.8)
    explorer.ask(rule="maximum")
    assert explorer.question.threshold == 0.2
    wanted = expected(model, (20, 32), 0.2, "maximum")[1]
    assert (explorer.answers["model 0"].region == wanted).all()
    explorer.ask(threshold=0.4)
    assert explorer.question.rule == "maximum"
    explorer.ask(rule="mass", threshold=0.5)
    wanted = expected(model, (20, 32), 0.5)[1]
    assert (explorer.answers["model 0"].region == wanted).all()


def test_a_threshold_alone_is_a_share_of_the_maximum(explore):
    explorer = explore(Summing(3), threshold=0.4).wait()
    assert explorer.question.rule == "maximum"
    assert dict(explorer.stills[0][0].facts)["region"] == "≥ 40 % of the maximum"


@pytest.mark.parametrize("quantity", ["margin", "probability"])
def test_the_quantity_is_that_of_the_field(explore, sent, quantity):
    model = Summing(3)
    explorer = explore(model, pixel=(20, 30)).wait()
    change(explorer, quantity=quantity)
    explorer.wait()
    assert kinds(sent, "scene")[-1]["scene"]["rows"][0]["method"] == "exact"  # not an atlas
    field = valid_field(
        model, IMAGE, (20, 30), window=8, stride=4, method="plain", quantity=quantity
    )
    answer, facts = explorer.answers["model 0"], dict(explorer.stills[0][0].facts)
    torch.testing.assert_close(answer.field, field.discrepancy, atol=1e-5, rtol=1e-4)
    assert facts["field of"] == quantity
    # The network is so certain that its probability is 1 under every window: a field of zeros.
    zero = quantity == "probability"
    assert bool(field.discrepancy.any()) != zero
    assert facts.get("radius") == (None if zero else f"{field.radius():.0f} px")
    explorer.ask(method="gradient").wait()  # of the logit
    assert "field of" not in dict(explorer.stills[0][0].facts)


def test_another_view_of_the_same_field_computes_nothing(explore):
    explorer = explore(Summing(3)).wait()
    generation = explorer._worker.generation
    explorer.ask(view="heat")
    field = explorer.answers["model 0"].field
    assert (explorer.stills[0][0].raster == paint(SHOWN, field, None, "heat")).all()
    assert explorer._worker.generation == generation


def test_coverage_of_the_object_under_the_pixel(explore):
    labels = torch.zeros(48, 64, dtype=torch.uint8)
    labels[10:40, 20:50] = 2
    labels[0:4, 0:4] = 2
    explorer = explore(Summing(3), labels=labels, classes=SHAPES, target=1).wait()
    area = explorer.answers["model 0"].region
    assert explorer.coverage("model 0") == area[10:40, 20:50].float().mean().item()
    facts = dict(explorer.stills[0][0].facts)
    assert facts["class"] == "disc"
    assert facts["object"] == f"{explorer.coverage('model 0'):.0%} covered"
    assert facts["region"] == "80 % of the mass"
    assert "radius" not in facts  # no window changes this class: its logit is always 0
    explorer.ask(pixel=(45, 5))
    assert explorer.coverage("model 0") is None
    assert explorer.stills[0][0].segments["item"] == []


def test_a_burst_of_changes_ends_on_the_last(explore, sent):
    model = Slow(2)
    explorer = explore(model, window=16, stride=16, method="gradient").wait()
    for click in range(50):
        change(explorer, pixel=[click % 48, (3 * click) % 64])
        time.sleep(0.003)
    explorer.wait()
    assert explorer._worker.generation == 51
    assert explorer.question.pixel == (49 % 48, 147 % 64)
    last = kinds(sent, "answer")[-1]["answer"]
    assert (last["pixel"], last["question"]) == ([49 % 48, 147 % 64], 51)
    wanted = region(gradient_field(model, IMAGE, (49 % 48, 147 % 64)))
    assert torch.equal(explorer.answers["model 0"].region, wanted)


def test_an_occluder_that_was_overtaken_is_forgotten(explore):
    explorer = explore(Slow(2), window=4, stride=2)
    for side in (5, 6, 7):
        change(explorer, window=side, stride=side)
    explorer.wait()
    assert {
        occluder.window for _, occluder in explorer._lab._study(explorer.question).atlases._atlases
    } == {7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel": (48, 0)}, "outside the 48×64 image"),
        ({"window": 49}, "window 49×49 is larger than the image, 48×64"),
        ({"window": 4, "stride": 5}, "it skips pixels"),
        ({"threshold": 0}, "threshold must be in (0, 1]"),
        ({"method": "magic"}, "unknown method 'magic'; choose exact"),
        ({"target": "cat"}, "unknown class 'cat'; choose sum, nothing"),
        ({"quantity": "weight"}, "unknown quantity 'weight'; choose logit"),
    ],
)
def test_bad_questions_are_refused_and_change_nothing(explore, changes, message):
    explorer = explore(Summing(3), classes=("sum", "nothing")).wait()
    before = explorer.question
    with pytest.raises(ValueError, match=re.escape(message)):
        explorer.ask(**changes)
    assert explorer.question == before
    with pytest.raises(ValueError, match=re.escape(message)):
        explore(Summing(3), classes=("sum", "nothing"), **changes)


def test_a_class_that_a_network_lacks_is_shown_as_its_error(explore, sent):
    explorer = explore(Summing(3), Summing(9)).wait()
    explorer.ask(target=2).wait()
    wanted = "target 2 is outside the classes 0 … 1"
    assert wanted in explorer.stills[0][0].error
    assert wanted in kinds(sent, "status")[-1]["status"]["error"]
    assert explorer.answers == {}
    explorer.ask(target=None).wait()
    assert explorer.stills[0][0].error == ""
    assert (explorer.answers["model 0"].region == expected(Summing(3), (20, 32))[1]).all()


def test_one_models_error_does_not_hinder_the_other(explore):
    explorer = explore(Broken(), Summing(3), NotFinite(3)).wait()
    broken, good, nan = explorer.stills[0]
    assert "Broken must return logits (batch, classes, rows, columns)" in broken.error
    assert "NaN" in nan.error
    assert good.error == ""
    assert set(explorer.answers) == {"model 1"}


def test_what_could_not_be_reused_is_told(explore, sent):
    explore(Slow(2), window=16, stride=16).wait()
    assert "every window runs the whole network" in kinds(sent, "status")[-1]["status"]["note"]


def test_arguments_that_do_not_fit_are_refused(explore):
    with pytest.raises(ValueError, match="models is empty"):
        VRFExplorer({}, IMAGE)
    with pytest.raises(ValueError, match="labels has 3×3 pixels, but the image has 48×64"):
        explore(Summing(3), labels=torch.zeros(3, 3))


def test_the_first_question_may_name_the_class(explore):
    names = {"classes": ("sum", "nothing")}
    assert explore(Summing(3), target="nothing", **names).wait().question.target == 1
    with pytest.raises(ValueError, match="unknown class 'sum'; give its id"):
        explore(Summing(3), target="sum")


def test_close_stops_the_thread(explore):
    explorer = explore(Slow(2))
    explorer.close()
    assert not explorer._worker.alive


def test_a_view_that_is_opened_later_gets_everything(explore, sent):
    explorer = explore(Summing(3), classes=SHAPES).wait()
    change(explorer, threshold=0.5)
    del sent[:]
    explorer._viewer._receive(None, {"kind": "ready", "view": "w"}, [])
    assert {content["to"] for content, _ in sent} == {"w"}
    scene, *others = [content for content, _ in sent]
    assert scene["scene"]["state"]["threshold"] == 0.5
    assert {content["kind"] for content in others} == {"status", "atlas", "prediction"}


def test_a_saved_notebook_has_the_page(explore):
    explorer = explore(Summing(3)).wait()
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == explorer.page_part()
    alt = re.search(r'<img alt="([^"]*)"', bundle["text/html"]).group(1)
    assert alt.startswith("model 0 at row 20, column 32: class: ")
    assert "% covered" in alt


def test_a_saved_page_has_no_network_without_a_field(explore, tmp_path):
    explore(Broken(), Summing(3)).wait().save(tmp_path / "fields.html")
    text = (tmp_path / "fields.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'application/json">(.*?)</script>', text, re.S).group(1))
    assert [network["title"] for network in data["scene"]["networks"]] == ["model 1"]
    assert [atlas["network"] for atlas in data["atlases"]] == [0]
    assert "Broken must return logits" in re.search(r'<img alt="([^"]*)"', text).group(1)
    with pytest.raises(ValueError, match="no valid field was computed"):
        explore(Broken()).wait().save(tmp_path / "none.html")


def test_an_unfinished_explorer_says_so_in_a_saved_notebook(explore):
    explorer = explore(Slow(2))
    assert "saved before its pictures were complete" in explorer._repr_mimebundle_()["text/html"]


def test_the_prediction_is_a_view(explore):
    explorer = explore(Summing(3), classes=SHAPES, view="prediction").wait()
    raster = explorer.stills[0][0].raster  # class 0 everywhere: its colour on the grey image
    grey = SHOWN.float().mean(0)[..., None] * 0.4
    wanted = (grey + 0.6 * torch.tensor(SHAPES.colors[0])).round().byte().numpy()
    assert np.abs(raster.astype(int) - wanted).max() <= 1


def test_names_of_classes_are_used_only_if_the_networks_agree(sent):
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    explorer = VRFExplorer(["gcn7-seed0", "photos-gcn3"], image, window=32, stride=32)
    assert kinds(explorer._viewer._sent.values(), "scene")[0]["scene"]["classes"] == []
    explorer.close()


def test_networks_may_be_named(sent):
    explorer = VRFExplorer(["gcn7-seed0"], torch.zeros(3, 64, 64, dtype=torch.uint8))
    assert explorer.titles == ["gcn7-seed0"]
    explorer.wait()
    answer = explorer.answer("gcn7-seed0")
    assert dict(explorer.stills[0][0].facts)["class"] == f"{SHAPES.names[answer.target]}, predicted"
    explorer.close()


@pytest.mark.parametrize("fill", [0.5, "mean", "blur", "noise"])
@pytest.mark.parametrize("method", ["exact", "captum"])
def test_the_fill_is_that_of_the_field(explore, sent, fill, method):
    explorer = explore(Summing(3), pixel=(20, 28)).wait()
    change(explorer, fill=fill, method=[method])
    explorer.wait()
    field = valid_field(Summing(3), IMAGE, (20, 28), window=8, stride=4, fill=fill, method="plain")
    answer = explorer.answer("model 0")
    torch.testing.assert_close(answer.field, field.discrepancy, rtol=1e-4, atol=1e-4)
    if method == "exact":
        shown = fill if isinstance(fill, str) else f"{fill:g}"
        assert kinds(sent, "atlas")[-1]["facts"]["occluder"] == f"8 px every 4, fill {shown}"


def test_the_likeliest_classes(explore):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 5, 3, padding=1)
    explorer = explore(net, classes=SHAPES, method=("exact", "gradient")).wait()
    for method in ("exact", "gradient"):
        answer = explorer.answer("model 0", method)
        shares, ids = net(IMAGE[None])[0, :, *answer.unit].softmax(0).sort(descending=True)
        assert answer.best[0] == ids[:3].tolist()
        assert answer.best[1] == pytest.approx(shares[:3].tolist(), rel=1e-4)
    facts = dict(explorer.stills[0][0].facts)
    assert facts["best classes"].startswith(f"{SHAPES.names[ids[0]]} {shares[0]:.0%}")


def test_channels_of_a_hidden_layer(explore, sent):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 5, stride=2, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(6, 2, 1)
    )
    explorer = explore(net, Summing(3), classes=SHAPES).wait()
    assert explorer.layers == ["0", "1", "2", "conv"]
    options = {
        c["name"]: c["options"] for c in kinds(sent, "controls")[-1]["controls"] if "options" in c
    }
    assert [value for value, _ in options["layer"]] == [None, "0", "1", "2", "conv"]
    change(explorer, layer="1")
    explorer.wait()
    answer, error = explorer.answer("model 0"), explorer.stills[0][1].error
    assert "unknown layer '1' of Summing" in error
    field = valid_field(HiddenLayer(net, "1"), IMAGE, answer.unit, window=8, stride=4)
    assert answer.target == field.target
    torch.testing.assert_close(answer.field, field.discrepancy, rtol=1e-4, atol=1e-4)
    facts = dict(explorer.stills[0][0].facts)
    assert facts["channel"] == f"{field.target}, strongest"
    assert facts["unit"] == f"{answer.unit} of 24×32"
    scene = kinds(sent, "scene")[-1]["scene"]
    assert scene["hidden"]
    names = [control["name"] for control in scene["controls"]]
    assert "quantity" not in names
    explorer.ask(target=4, method="gradient").wait()
    wanted = gradient_field(HiddenLayer(net, "1"), IMAGE, answer.unit, 4)
    torch.testing.assert_close(explorer.answer("model 0").field, wanted)
    with pytest.raises(ValueError, match="a hidden layer has no margin"):
        explorer.ask(quantity="margin")
    explorer.ask(layer=None).wait()
    assert explorer.question.target is None
    assert set(explorer.answers) == {"model 0", "model 1"}


def test_a_list_of_pictures(sent):
    images = [integer_image(48, 64), integer_image(32, 40)]
    explorer = VRFExplorer({"model": Summing(3)}, images, window=8, stride=4, pixel=(40, 60)).wait()
    explorer._viewer._receive(None, {"kind": "ready", "view": "v"}, [])
    first = explorer.answer("model").field
    change(explorer, image_index=1)
    # The old one is outside: the pixel near the centre whose unit every atlas keeps.
    assert explorer.question.pixel == (16, 16)
    explorer.wait()
    scene = kinds(sent, "scene")[-1]["scene"]
    assert (scene["size"], scene["pictures"]) == ([32, 40], ["1", "2"])
    wanted = valid_field(Summing(3), images[1], (16, 16), window=8, stride=4, method="plain")
    assert torch.equal(explorer.answer("model").field, wanted.discrepancy)
    # The atlas of the first picture is still there.
    explorer.ask(image_index=0, pixel=(40, 60))
    assert torch.equal(explorer.answer("model").field, first)
    with pytest.raises(ValueError, match="image_index 2 is out of range: there are 2 images"):
        explorer.ask(image_index=2)
    explorer.close()


def test_the_user_adds_a_picture(explore, sent, tmp_path):
    explorer = explore(Summing(3)).wait()
    Image.new("RGB", (32, 24), "red").save(tmp_path / "red.png")
    content = memoryview((tmp_path / "red.png").read_bytes())
    explorer._viewer._receive(None, {"kind": "file", "name": "red.png", "view": "v"}, [content])
    explorer.wait()
    assert (explorer.question.image_index, explorer.example.title) == (1, "red")
    assert explorer.answer("model 0").field.shape == (24, 32)
    message = {"kind": "file", "name": "notes.txt", "view": "v"}
    explorer._viewer._receive(None, message, [memoryview(b"hello")])
    assert "notes.txt: damaged, or not an image" in kinds(sent, "problem")[-1]["text"]
    assert explorer.question.image_index == 1


def test_a_change_that_is_refused_is_told(explore, sent):
    explorer = explore(Summing(3)).wait()
    change(explorer, window=4, stride=5)
    assert "it skips pixels" in kinds(sent, "problem")[-1]["text"]
    assert kinds(sent, "state")[-1]["state"]["window"] == 8


def test_the_state_can_be_given(explore):
    explorer = explore(Summing(3), Summing(9), target=1, fill="blur", view="contour").wait()
    explorer.ask(method=("exact", "gradient"), pins=[(4, 4), (8, 8)], threshold=0.5)
    state = json.loads(json.dumps(explorer.state))
    options = {"picture": SHOWN} | state
    other = VRFExplorer({"model 0": Summing(3), "model 1": Summing(9)}, IMAGE, **options)
    assert (other.question, other.pins) == (explorer.question, explorer.pins)
    assert other.state == state
    other.close()
    third = explore(Summing(3)).ask(**state)
    assert (third.question, third.pins) == (explorer.question, explorer.pins)


METHODS = ["exact", "drilldown", "gradient", "integrated", "captum", "theoretical"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("fill", [0.0, "mean"])
def test_the_copied_code_computes_what_is_shown(explore, sent, method, layer, fill):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=2, padding=2), torch.nn.Conv2d(4, 2, 3)
    )
    explorer = explore(net, method=method, layer=layer, fill=fill, target=1, pixel=(21, 33)).wait()
    kind = "atlas" if method == "exact" else "answer"
    code = kinds(sent, kind)[-1]["facts" if method == "exact" else "answer"]["code"]
    for name, value in (("pixel", "(21, 33)"), ("threshold", "0.8"), ("rule", "mass")):
        code = code.replace(f"{{{name}}}", value)
    found = {"model": net.eval(), "image": IMAGE}
    exec(code, found)
    answer = explorer.answer("model 0")
    if method == "theoretical":
        top, left = max(0, found["top"]), max(0, found["left"])
        wanted = torch.zeros(48, 64, dtype=torch.bool)
        wanted[top : found["bottom"], left : found["right"]] = True
        assert torch.equal(answer.region, wanted)
    else:
        field = getattr(found["field"], "discrepancy", found["field"])
        torch.testing.assert_close(field, answer.field, rtol=1e-4, atol=1e-5)
        assert (found["region"] == answer.region).float().mean() > 0.99


def test_pictures_and_numbers_are_saved(explore, sent, tmp_path):
    explorer = explore(Summing(3), Broken(), method=("exact", "gradient"), threshold=0.5).wait()
    for suffix in (".png", ".svg", ".pdf", ".npz"):
        explorer.save(tmp_path / f"fields{suffix}")
        explorer._viewer._receive(None, {"kind": "save", "suffix": suffix, "view": "v"}, [])
        message, (content,) = sent[-1]
        assert (message["kind"], message["name"]) == ("saved", f"fields{suffix}")
        assert len(content) > 1000
    with Image.open(tmp_path / "fields.png") as picture:
        assert picture.width > 500
    assert "<svg" in (tmp_path / "fields.svg").read_text(encoding="utf-8")
    with np.load(tmp_path / "fields.npz") as file:
        saved = dict(file)
    assert saved["fields"].shape == saved["regions"].shape == (2, 2, 48, 64)
    for row, method in enumerate(("exact", "gradient")):
        answer = explorer.answer("model 0", method)
        assert (saved["fields"][row, 0] == answer.field.numpy()).all()
        assert (saved["regions"][row, 0] == answer.region.numpy()).all()
        assert np.isnan(saved["fields"][row, 1]).all()
    assert saved["titles"].tolist() == ["model 0", "model 1"]
    assert json.loads(str(saved["settings"])) == explorer.state
    assert (saved["picture"] == SHOWN.permute(1, 2, 0).numpy()).all()
    with pytest.raises(ValueError, match=r"fields.jpeg: unknown suffix '.jpeg'; choose .html"):
        explorer.save(tmp_path / "fields.jpeg")


def test_the_view_suits_the_method(explore):
    explorer = explore(Summing(3), method=("exact", "gradient", "theoretical")).wait()
    for method, (still,), view in zip(
        explorer.question.methods, explorer.stills, ("region", "heat", "contour")
    ):
        answer = explorer.answer("model 0", method)
        assert (still.raster == paint(SHOWN, answer.field, answer.region, view)).all()


class Gray(torch.nn.Module):
    """A network for images of one channel."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, images):
        return self.conv(images)


@pytest.mark.parametrize("first", [True, False])
def test_a_network_that_fails_does_not_hide_the_layers_of_another(explore, first):
    models = (Gray(), Summing(3)) if first else (Summing(3), Gray())
    explorer = explore(*models).wait()
    errors = [bool(still.error) for still in explorer.stills[0]]
    assert errors == [first, not first]
    assert explorer.layers == ["conv"]


def test_networks_must_be_titled(explore):
    for models in (Summing(3), [Summing(3)], 5):
        with pytest.raises(TypeError, match="models must be a dict, title → network, or a list of"):
            VRFExplorer(models, IMAGE)
    with pytest.raises(FileNotFoundError, match="no folder or pretrained network 'gcn'"):
        VRFExplorer("gcn", IMAGE)


def test_many_classes_keep_their_ids(explore, sent):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 300, 3, padding=1)
    names = tuple(f"class {i}" for i in range(300))
    labels = torch.full((48, 64), 280)
    explorer = explore(net, classes=names, labels=labels).wait()
    wanted = net(IMAGE[None])[0].argmax(0)
    assert wanted.max() > 255
    assert torch.equal(explorer._lab.prediction(explorer.question, "model 0"), wanted)
    assert kinds(sent, "prediction")[0]["prediction"]["type"] == "uint16"
    assert kinds(sent, "scene")[0]["scene"]["labels"]["type"] == "uint16"


def test_the_prediction_needs_no_atlas(explore, sent):
    net = torch.nn.Conv2d(3, SHAPES.num_classes, 3, padding=1)
    explorer = explore(net, method="gradient", view="prediction", classes=SHAPES).wait()
    assert len(kinds(sent, "prediction")) == 1
    wanted = net(IMAGE[None])[0].argmax(0)
    assert torch.equal(explorer._lab.prediction(explorer.question, "model 0"), wanted)


def test_the_occluder_fits_the_next_picture(sent):
    images = [integer_image(96, 96), integer_image(8, 8), integer_image(96, 96)]
    explorer = VRFExplorer({"model": Summing(1)}, images, window=12, stride=12)
    explorer._viewer._receive(None, {"kind": "ready", "view": "v"}, [])
    change(explorer, image_index=1)
    assert (explorer.question.window, explorer.question.stride) == (8, 8)
    change(explorer, image_index=2)
    assert kinds(sent, "problem") == []
    explorer.wait().close()


def test_only_the_last_occluders_are_kept(explore, sent):
    explorer = explore(Summing(3), Summing(9))
    for side in range(8, 17):
        explorer.ask(window=side, stride=side).wait()
    known = [o.window for o in explorer._lab.occluders(explorer.question)]
    assert known == [11, 12, 13, 14, 15, 16]
    assert {key[2] for key in explorer._viewer._sent if key[0] == "atlas"} == {
        f"{side} px every {side}" for side in known
    }
    assert kinds(sent, "keep")[-1]["occluders"][-1] == "16 px every 16"
    explorer.ask(window=11, stride=11).wait()  # it is the latest now
    explorer.ask(window=17, stride=17).wait()
    known = [o.window for o in explorer._lab.occluders(explorer.question)]
    assert known == [13, 14, 15, 16, 11, 17]


def test_numbers_of_numpy_become_those_of_python(explore):
    explorer = explore(Summing(3)).ask(
        window=np.int64(6), stride=torch.tensor(3), fill=np.float32(0.5), image_index=np.int64(0)
    )
    state = json.loads(json.dumps(explorer.state))
    assert (state["window"], state["stride"], state["fill"]) == (6, 3, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": (6, 4)}, "window must be a whole number"),
        ({"image_index": True}, "image_index must be a whole number"),
        ({"image_index": "1"}, "image_index must be a whole number"),
        ({"layer": ["a"]}, "layer must be the path of a submodule"),
        ({"method": None}, "method must name one or more different methods"),
        ({"pins": [(1, 1), (2, 2), (3, 3)]}, "pins must be at most 2 pixels"),
        ({"pins": [(900, 900)]}, "outside the 48×64 image"),
        ({"fill": "red"}, "unknown fill 'red'"),
    ],
)
def test_values_of_another_kind_are_refused(explore, changes, message):
    explorer = explore(Summing(3))
    before = explorer.state
    with pytest.raises(ValueError, match=message):
        explorer.ask(**changes)
    assert explorer.state == before
    with pytest.raises(ValueError, match=message):
        explore(Summing(3), **changes)


def test_a_closed_explorer_changes_nothing(explore):
    explorer = explore(Summing(3)).wait()
    explorer.close()
    before = explorer.question
    with pytest.raises(RuntimeError, match="the explorer is closed"):
        explorer.ask(window=5)
    assert explorer.question == before


def test_the_code_of_drill_down_and_of_a_grey_image(explore, sent):
    explorer = explore(Summing(3), method="drilldown", agreement=0.5, threshold=0.5).wait()
    code = kinds(sent, "answer")[-1]["answer"]["code"]
    for name, value in (("pixel", "(20, 32)"), ("threshold", "0.5"), ("rule", "maximum")):
        code = code.replace(f"{{{name}}}", value)
    found = {"model": Summing(3), "image": IMAGE}
    exec(code, found)
    answer = explorer.answer("model 0")
    assert torch.equal(found["field"].discrepancy, answer.field)
    assert found["field"].evaluated == answer.evaluated
    grey = IMAGE[:1].float()
    other = VRFExplorer({"g": Gray()}, grey, SHOWN, method="theoretical").wait()
    code = field_code(other.question, "theoretical", (48, 64), None, 1).replace("{pixel}", "(5, 5)")
    found = {"model": Gray(), "image": grey}
    exec(code, found)
    assert (found["top"], found["bottom"]) == (4, 7)
    other.close()
