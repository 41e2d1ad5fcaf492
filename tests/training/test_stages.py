"""Schedules: the paper's settings, and a stopped schedule ends with the same weights."""

from dataclasses import asdict, replace

import pytest
import torch

from gcnlab.datasets.miniature import make_miniatures
from gcnlab.training import (
    SCHEDULES,
    ModelConfig,
    RunConfig,
    Schedule,
    Segmentation,
    Stage,
    load_checkpoint,
    load_run,
    run_schedule,
    train,
)
from gcnlab.training.checkpoint import fingerprint
from gcnlab.training.stages import plan_stages
from gcnlab.training.tasks import open_dataset

pytestmark = pytest.mark.slow

# pycocotools decodes with a call that NumPy 2 has deprecated.

VOC = SCHEDULES["voc"][1]
CITYSCAPES = SCHEDULES["cityscapes"][1]


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_miniatures(tmp_path_factory.mktemp("data"), ["voc", "sbd", "coco", "cityscapes"])


@pytest.fixture(scope="module")
def tiny(root):
    """Three stages on 16, 10 and 6 images, as VOC's but with a small k; a checkpoint every three steps."""
    schedule = replace(VOC.tiny(), root=root, precision="fp32", checkpoint_steps=3)
    stages = tuple(replace(stage, crop=(32, 32)) for stage in schedule.stages)
    return replace(schedule, stages=stages, model=replace(schedule.model, kernel_size=3))


def run(schedule, out, **options):
    return run_schedule(schedule, out, "cpu", progress=False, **options)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run(tiny, out)
    return out


def assert_same_checkpoints(a, b):
    a, b = load_checkpoint(a / "checkpoint.pt"), load_checkpoint(b / "checkpoint.pt")
    assert a["initial"] == b["initial"] or a["initial"]["sha256"] == b["initial"]["sha256"]
    assert torch.equal(a["losses"], b["losses"])
    assert a["model"].keys() == b["model"].keys()
    assert all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])


# --- What the paper says


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_stage_has_the_papers_sgd_and_network(name):
    schedule = SCHEDULES[name][1]
    for config in schedule.runs():
        training = config.training
        assert (training.optimizer, training.batch_size) == ("sgd", 1)
        assert (training.momentum, training.weight_decay) == (0.99, 0.0005)
        assert config.data.flip
        model = config.model
        assert (model.backbone, model.head, model.refine) == ("resnet152", "gcn", True)
        assert model.frozen_norm
        assert model.kernel_size == (25 if name == "cityscapes" else 15)
    weights = [config.model.weights for config in schedule.runs()]
    assert weights == ["IMAGENET1K_V1"] + [None] * (len(weights) - 1)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("voc", [("voc+sbd+coco", 640, 21), ("voc+sbd", 512, 21), ("voc", 512, 21)]),
        ("cityscapes", [("cityscapes+coarse", 800, 19), ("cityscapes", 800, 19)]),
        ("ablation", [("voc+sbd", 512, 21)]),
    ],
)
def test_data_and_sizes_are_the_papers(name, stages):
    found = [
        (config.data.dataset, config.data.crop, config.data.labels.num_classes)
        for config in SCHEDULES[name][1].runs()
    ]
    assert found == [(dataset, (side, side), classes) for dataset, side, classes in stages]


def test_images_are_padded_and_not_cut_where_they_are_smaller(tiny):
    """At the full size a crop of 512 is the paper's padding."""
    config = replace(VOC, root=tiny.root, flip=False).runs()[2]
    raw = open_dataset(config.data, "train")
    image, labels = Segmentation(config).training_set()[1]
    height, width = raw[1][1].shape
    assert image.shape == (3, 512, 512)
    assert torch.equal(labels[:height, :width], raw[1][1])
    assert (labels[height:] == 255).all()
    assert (labels[:, width:] == 255).all()
    assert torch.equal(image[:, :height, :width], Segmentation(config).normalization(raw[1][0]))
    assert not image[:, height:].any()


def test_each_stage_has_its_data(tiny):
    sizes = [len(step.dataset) for step in plan_stages(tiny, "nowhere")]
    own, train, voc = sizes
    assert own > train > voc == 6
    names = {step.dataset.name(i) for step in plan_stages(tiny, "nowhere") for i in range(voc)}
    val = open_dataset(tiny.runs()[0].data, "val")
    assert not names & {val.name(i) for i in range(len(val))}


def test_cityscapes_stages_have_coarse_and_fine_images(root):
    sizes = [len(p.dataset) for p in plan_stages(replace(CITYSCAPES.tiny(), root=root), "nowhere")]
    assert sizes == [5, 3]


def test_settings_survive_their_checkpoints():
    for _, schedule in SCHEDULES.values():
        for config in schedule.runs():
            assert RunConfig.from_dict(config.to_dict()) == config


def test_a_wrong_schedule_is_named():
    with pytest.raises(ValueError, match="stages must be at least one"):
        replace(VOC, stages=())
    with pytest.raises(ValueError, match="same classes"):
        replace(VOC, stages=(VOC.stages[0], CITYSCAPES.stages[0]))
    with pytest.raises(ValueError, match=r"training\.momentum"):
        replace(VOC, momentum=1.0)
    with pytest.raises(ValueError, match=r"data\.crop"):
        replace(VOC, stages=(Stage("voc", (0, 8), 1, 0.1),))


# --- One stage after the other


def test_a_later_stage_starts_from_the_weights_of_the_one_before(tiny, whole):
    """With a learning rate too small to change any weight, the stage shows its initial weights."""
    still = replace(tiny.stages[1], learning_rate=1e-30)
    out = whole.parent / "still"
    (out / "stage1").mkdir(parents=True)
    (out / "stage1" / "checkpoint.pt").write_bytes(
        (whole / "stage1" / "checkpoint.pt").read_bytes()
    )
    run(replace(tiny, stages=(tiny.stages[0], still)), out)
    first, second = (load_checkpoint(out / f"stage{n}" / "checkpoint.pt") for n in (1, 2))
    assert all(torch.equal(first["model"][key], second["model"][key]) for key in first["model"])
    assert second["initial"]["sha256"] == fingerprint(first["model"])
    assert "stage1" in second["initial"]["path"]


def test_the_optimizer_and_the_learning_rate_start_again(tiny, whole):
    states = [load_checkpoint(whole / f"stage{n}" / "checkpoint.pt") for n in (1, 2, 3)]
    assert [state["step"] for state in states] == [s.steps for s in plan_stages(tiny, whole)]
    # The learning rate of the last step, after a poly decay from the stage's own peak.
    for state, stage in zip(states, tiny.stages):
        rate = state["optimizer"]["param_groups"][0]["lr"]
        assert 0 < rate < stage.learning_rate
        assert state["config"]["training"]["learning_rate"] == stage.learning_rate


def test_each_stage_is_a_run_like_any_other(tiny, whole):
    for number, config in enumerate(tiny.runs(), start=1):
        loaded = load_run(whole / f"stage{number}", "cpu")
        assert loaded.config == config
        assert (loaded.initial is None) == (number == 1)


@pytest.mark.parametrize("at", [(1, 5), (2, 1), (2, 7), (3, 4)])
def test_a_stopped_schedule_ends_with_the_weights_of_one_that_was_not(tiny, whole, tmp_path, at):
    """Stopped in stage `at[0]` after step `at[1]`: before its first checkpoint, or after one."""
    out = tmp_path / "cut"
    for number in range(1, at[0]):  # as they were left behind
        (out / f"stage{number}").mkdir(parents=True)
        name = f"stage{number}/checkpoint.pt"
        (out / name).write_bytes((whole / name).read_bytes())
    begun = []

    def stop(step, steps, loss):
        if step == at[1]:
            raise Stop

    with pytest.raises(Stop):
        run(tiny, out, on_step=stop)
    run(tiny, out, on_step=lambda step, steps, loss: begun.append(step))
    assert begun[0] == 3 * (at[1] // 3) + 1
    for number in (1, 2, 3):
        assert_same_checkpoints(out / f"stage{number}", whole / f"stage{number}")


def test_a_finished_schedule_trains_no_more_and_needs_no_data(tiny, whole, tmp_path):
    gone = tmp_path / "data"
    moved = replace(tiny, root=gone, stages=tiny.stages[:1])
    with pytest.raises(FileNotFoundError, match=str(gone)):
        run(moved, tmp_path / "out")
    steps, stages = [], []
    run(tiny, whole, on_step=lambda *a: steps.append(a), on_stage=lambda *a: stages.append(a))
    assert not steps
    assert [step.number for step, _ in stages] == [1, 2, 3]
    assert all(step.finished and step.dataset is None for step, _ in stages)


def test_missing_data_of_the_last_stage_is_found_before_the_first_is_trained(root, tmp_path):
    half = make_miniatures(tmp_path / "half", ["voc", "sbd"])
    stages = tuple(replace(s, crop=(32, 32)) for s in reversed(VOC.tiny().stages))
    with pytest.raises(FileNotFoundError, match=str(half / "coco")):
        run(replace(VOC.tiny(), root=half, stages=stages), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_changed_settings_of_any_stage_are_refused_before_anything_is_trained(tiny, whole, number):
    stages = list(tiny.stages)
    stages[number - 1] = replace(stages[number - 1], learning_rate=0.5)
    before = (whole / f"stage{number}" / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=rf"stage{number}.*training\.learning_rate: .* 0\.5 now"):
        run(replace(tiny, stages=tuple(stages)), whole)
    assert (whole / f"stage{number}" / "checkpoint.pt").read_bytes() == before


def test_a_stage_that_started_from_other_weights_is_refused(tiny, whole, tmp_path):
    """The first stage was trained again, with another seed's weights but the same settings."""
    for number in (1, 2, 3):
        (tmp_path / f"stage{number}").mkdir()
        state = load_checkpoint(whole / f"stage{number}" / "checkpoint.pt")
        if number == 1:
            state["model"] = {k: v + 1 for k, v in state["model"].items()}
        torch.save(state, tmp_path / f"stage{number}" / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"stage2.*started from .*stage1.*sha256"):
        run(tiny, tmp_path)


def test_a_later_stage_before_an_earlier_one_is_refused(tiny, whole, tmp_path):
    (tmp_path / "stage2").mkdir()
    path = tmp_path / "stage2" / "checkpoint.pt"
    path.write_bytes((whole / "stage2" / "checkpoint.pt").read_bytes())
    with pytest.raises(ValueError, match=r"stage 1 in .*stage1 is not finished"):
        run(tiny, tmp_path)


def test_k_may_be_larger_than_the_map(root, tmp_path):
    """At a crop of 32 pixels res-5 is a single pixel; k = 25 there is padding nearly everywhere."""
    stage = replace(CITYSCAPES.tiny().stages[1], crop=(32, 32))
    schedule = replace(CITYSCAPES.tiny(), root=root, stages=(stage,))
    assert schedule.model.kernel_size == 25
    trained = run(schedule, tmp_path)
    assert all(torch.isfinite(w).all() for w in trained.model.state_dict().values())


def test_a_plan_says_what_a_stage_costs(tiny, whole, tmp_path):
    lines = [step.summary() for step in plan_stages(tiny, tmp_path)]
    assert "voc+sbd+coco at 32×32" in lines[0]
    assert "6 images, 1 epochs, 6 steps of 1, learning rate 6.25e-06" in lines[2]
    assert all(step.summary().endswith("finished") for step in plan_stages(tiny, whole))


# --- Starting from another run's weights


def test_initial_weights_of_another_architecture_are_refused(tiny, whole):
    config = replace(tiny.runs()[2], model=ModelConfig("mini", kernel_size=5))
    with pytest.raises(ValueError, match=r"checkpoint\.pt: checkpoint of another architecture"):
        train(config, initial=whole / "stage1", progress=False, device="cpu")


def test_a_schedule_can_be_made_of_anything(root, tmp_path):
    """The schedule consists of its fields."""
    stages = (Stage("cityscapes", (32, 64), 1, 1e-4, scale=(0.5, 1.0)),)
    schedule = Schedule(
        stages,
        ModelConfig("mini_gcn", kernel_size=3),
        CITYSCAPES.inference,
        root=root,
        batch_size=2,
    )
    assert asdict(schedule)["stages"][0]["scale"] == (0.5, 1.0)
    trained = run(schedule, tmp_path)
    assert len(trained.losses) == 1


@pytest.mark.parametrize("device", ["cuda", None])
def test_each_process_chooses_its_own_gpu(tmp_path, tiny, monkeypatch, device):
    """A number would be used by every process."""
    asked = []

    def record(config, out, **options):
        asked.append(options["device"])
        raise Stop

    monkeypatch.setattr("gcnlab.training.stages.train", record)
    with pytest.raises(Stop):
        run_schedule(tiny, tmp_path, device)
    assert asked == [device]
