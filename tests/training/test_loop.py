import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision import tv_tensors

from gcnlab.training import (
    DataConfig,
    ModelConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    TrainingDiverged,
    load_checkpoint,
    load_run,
    train,
)
from gcnlab.training.batches import Batches
from gcnlab.training.checkpoint import fingerprint, save_checkpoint
from gcnlab.training.optimization import (
    compute_dtype,
    learning_rate,
    make_optimizer,
    segmentation_loss,
)
from gcnlab.training.runs import run_result
from gcnlab.training.state import start_run

pytestmark = pytest.mark.slow

TINY = RunConfig(
    ModelConfig(kernel_size=3),
    DataConfig(image_size=48, train_images=6),
    TrainingConfig(epochs=4, batch_size=2, seed=3),
)


def run(config=TINY, **options):
    return train(config, progress=False, device="cpu", **options)


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_loss_falls():
    losses = run(replace(TINY, training=replace(TINY.training, epochs=20))).losses
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one_bit_for_bit(tmp_path, optimizer):
    config = replace(
        TINY,
        data=replace(TINY.data, crop=(32, 32), scale=(0.5, 2.0), color_jitter=0.3),
        training=replace(TINY.training, optimizer=optimizer, learning_rate=0.01),
    )
    whole = run(config, out=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(step, steps, loss):
        if step == 8:  # after the second checkpoint (step 6), within the third epoch
            raise Stop

    with pytest.raises(Stop):
        run(config, out=tmp_path / "cut", on_step=stop)
    torch.rand(17)  # whatever else the process draws
    resumed = run(config, out=tmp_path / "cut")
    assert_same_weights(whole.model, resumed.model)
    assert whole.losses == resumed.losses


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_checkpoint_of_a_version_without_fused_optimizers_resumes(tmp_path, optimizer):
    config = replace(TINY, training=replace(TINY.training, optimizer=optimizer, learning_rate=0.01))
    whole, path = run(config), tmp_path / "checkpoint.pt"

    class Stop(Exception):
        pass

    def stop(step, steps, loss):
        if step == 8:
            raise Stop

    with pytest.raises(Stop):
        run(config, out=tmp_path, on_step=stop)
    state = load_checkpoint(path)
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    save_checkpoint(state, path)
    assert_same_weights(run(config, out=tmp_path).model, whole.model)


def test_a_run_is_a_function_of_its_seed():
    assert_same_weights(run().model, run().model)
    other = run(replace(TINY, training=replace(TINY.training, seed=4)))
    assert not torch.equal(
        other.model.heads[0].branch_a[0].weight, run().model.heads[0].branch_a[0].weight
    )


def test_every_image_is_seen_once_an_epoch_in_another_order():
    settings = TrainingConfig(epochs=3, batch_size=4, seed=1)
    batches = list(Batches(12, settings, 0, 9))
    epochs = [[i for batch in batches[e * 3 : e * 3 + 3] for _, i in batch] for e in range(3)]
    assert all(sorted(order) == list(range(12)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(Batches(12, settings, 5, 9)) == batches[5:]


def test_the_loss_is_the_mean_over_labelled_pixels():
    logits = torch.randn(2, 3, 4, 4)
    labels = torch.randint(0, 3, (2, 4, 4))
    labels[0, :2] = 255
    by_hand = [
        -logits[b, :, r, c].log_softmax(0)[labels[b, r, c]]
        for b, r, c in (labels != 255).nonzero().tolist()
    ]
    torch.testing.assert_close(segmentation_loss(logits, labels), torch.stack(by_hand).mean())


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_the_poly_schedule_with_warm_up():
    settings = TrainingConfig(learning_rate=0.5, warmup=0.1, power=0.9)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[10] == 0.5
    assert rates[55] == pytest.approx(0.5 * (1 - 45 / 90) ** 0.9)
    assert rates[99] > 0
    constant = replace(settings, schedule="constant", warmup=0.0)
    assert {learning_rate(constant, step, 100) for step in range(100)} == {0.5}


def test_precision_on_a_cpu():
    cpu = torch.device("cpu")
    assert compute_dtype("fp32", cpu) == torch.float32
    assert compute_dtype("bf16", cpu) == torch.bfloat16
    assert compute_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match=r"training\.precision"):
        compute_dtype("fp16", cpu)


def test_bf16_trains_on_a_cpu():
    config = replace(TINY, training=replace(TINY.training, precision="bf16", epochs=1))
    trained = run(config)
    assert all(math.isfinite(loss) for loss in trained.losses)
    assert trained.model.heads[0].branch_a[0].weight.dtype == torch.float32


class Items(torch.utils.data.Dataset):
    """A data set of given pairs, with names."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, labels = self.items[index]
        return tv_tensors.Image(image), tv_tensors.Mask(labels)

    def name(self, index):
        return f"picture-{index}"


def pairs(count=6):
    labels = torch.zeros(32, 32, dtype=torch.uint8)
    return [(torch.randn(3, 32, 32), labels.clone()) for _ in range(count)]


def test_a_nan_loss_names_the_settings_and_keeps_the_last_checkpoint(tmp_path):
    items = pairs()
    good = run(dataset=Items(items), out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    class Poisoned(Items):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return image * (math.nan if index == 4 else 1), labels

    longer = replace(TINY, training=replace(TINY.training, epochs=8))
    run_path = tmp_path / "long"
    seen = []
    with pytest.raises(TrainingDiverged, match=r"training\.learning_rate"):
        run(longer, dataset=Poisoned(items), out=run_path, on_step=lambda *a: seen.append(a))
    assert not (run_path / "checkpoint.pt").exists()
    assert all(math.isfinite(loss) for _, _, loss in seen)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert_same_weights(good.model, load_run(tmp_path, "cpu").model)


def test_diverging_later_leaves_the_checkpoint_from_before(tmp_path):
    class LaterPoisoned(Items):
        reads = 0

        def __getitem__(self, index):
            LaterPoisoned.reads += 1
            image, labels = super().__getitem__(index)
            return image * (math.nan if LaterPoisoned.reads > 8 else 1), labels

    with pytest.raises(TrainingDiverged, match=r"checkpoint\.pt, is older"):
        run(dataset=LaterPoisoned(pairs()), out=tmp_path)
    weights = load_run(tmp_path, "cpu").model.state_dict().values()
    assert all(w.isfinite().all() for w in weights)


def test_a_label_out_of_range_names_its_image():
    items = pairs()
    items[2][1][3, 3] = 9
    with pytest.raises(ValueError, match=r"picture-2: label ids 9"):
        run(dataset=Items(items))


def test_sizes_that_differ_name_their_image():
    items = pairs()
    items[5] = (torch.randn(3, 32, 30), items[5][1])
    with pytest.raises(ValueError, match=r"picture-5"):
        run(dataset=Items(items))


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="empty"):
        run(dataset=Items([]))


def test_fewer_images_than_a_batch_still_train():
    config = replace(TINY, training=replace(TINY.training, batch_size=64, epochs=2))
    assert len(run(config).losses) == 2


def test_frozen_norm_trains_at_batch_size_1():
    config = replace(
        TINY,
        model=replace(TINY.model, frozen_norm=True),
        training=replace(TINY.training, batch_size=1, epochs=1, optimizer="sgd", momentum=0.99),
    )
    model = run(config).model
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_workers_load_the_same_images():
    assert_same_weights(run(num_workers=1).model, run().model)


def test_initial_weights_start_a_run_and_are_recorded(tmp_path):
    first = run(out=tmp_path / "first")
    for initial in (first, tmp_path / "first", first.model.state_dict()):
        config = replace(TINY, training=replace(TINY.training, learning_rate=1e-30, epochs=1))
        second = run(config, initial=initial)
        for (name, a), b in zip(
            first.model.named_parameters(), second.model.parameters(), strict=True
        ):
            assert torch.equal(a, b), name
        assert second.initial["sha256"] == fingerprint(first.model.state_dict())
    assert run(config).initial is None


def test_a_network_with_frozen_norm_starts_from_one_without():
    first = run()
    config = replace(TINY, model=replace(TINY.model, frozen_norm=True))
    training = replace(TINY.training, learning_rate=1e-30, epochs=1)
    second = run(replace(config, training=training), initial=first)
    own, other = second.model.state_dict(), first.model.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert {name.rpartition(".")[2] for name in other.keys() - own} == {"num_batches_tracked"}


def test_a_run_from_other_weights_is_not_resumed(tmp_path):
    first = run()
    run(out=tmp_path, initial=first)
    with pytest.raises(
        ValueError, match=r"started from weights in memory .*the initial weights of its"
    ):
        run(out=tmp_path)
    resumed = run(out=tmp_path, initial=first)
    assert len(resumed.losses) == 12


def test_a_checkpoint_from_before_a_setting_existed_resumes(tmp_path):
    """The default is the behaviour of the older version."""
    whole = run(out=tmp_path)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    for key in ("task", "initial", "steps"):
        del state[key]
    del state["config"]["training"]["checkpoint_steps"]
    torch.save(state, path)
    assert_same_weights(run(out=tmp_path).model, whole.model)
    other = replace(TINY, training=replace(TINY.training, checkpoint_steps=7))
    with pytest.raises(ValueError, match=r"training\.checkpoint_steps: None there, 7 now"):
        run(other, out=tmp_path)


def test_checkpoints_by_steps(tmp_path):
    config = replace(TINY, training=replace(TINY.training, checkpoint_steps=5))
    done = []

    def look(step, steps, loss):
        path = tmp_path / "checkpoint.pt"
        done.append(torch.load(path, weights_only=True)["step"] if path.exists() else 0)

    run(config, out=tmp_path, on_step=look)
    assert done == [0] * 5 + [5] * 5 + [10] * 2


def test_a_data_set_that_grew_is_not_resumed(tmp_path):
    run(dataset=Items(pairs(6)), out=tmp_path)
    with pytest.raises(
        ValueError, match=r"checkpoint\.pt: the run of this checkpoint has 12 steps, this run 16"
    ):
        run(dataset=Items(pairs(8)), out=tmp_path)


def test_the_step_and_cosine_schedules():
    settings = TrainingConfig(learning_rate=0.1, warmup=0.0, schedule="step")
    rates = [learning_rate(settings, step, 90) for step in range(90)]
    assert rates == pytest.approx([0.1] * 30 + [0.01] * 30 + [0.001] * 30)
    cosine = replace(settings, schedule="cosine")
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert learning_rate(cosine, step, 50) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


def test_a_first_step_that_overflows_leaves_the_momentum_at_zero():
    """Loss scaling in fp16 often skips it: PyTorch's own buffer then holds uninitialised memory."""
    layer = nn.Linear(40, 30, bias=False)
    start = layer.weight.detach().clone()
    optimizer = make_optimizer(
        layer, TrainingConfig(optimizer="sgd", momentum=0.99, learning_rate=0.1, weight_decay=0.0)
    )
    for overflow in (1.0, 0.0):
        layer.weight.grad = torch.ones_like(start)
        optimizer.found_inf = torch.tensor(overflow)
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), start - 0.1)


def test_a_run_in_fp16_resumes_from_a_checkpoint_without_a_scale(tmp_path):
    run(out=tmp_path)
    state = start_run(Segmentation(TINY), torch.device("cpu"), 6)
    state.scaler = torch.amp.GradScaler("cpu")
    state.resume(tmp_path / "checkpoint.pt")
    assert state.step == state.steps
    assert state.scaler.get_scale() == 65536


def test_restarted_processes_resume_also_without_resume(tmp_path, monkeypatch):
    first = run(out=tmp_path)
    steps = []
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    second = run(out=tmp_path, resume=False, on_step=lambda *values: steps.append(values))
    assert steps == []
    assert second.losses == first.losses


def test_each_run_of_a_process_records_its_own_processor_time():
    run_before = train(TINY, device="cpu", progress=False)
    run = train(TINY, device="cpu", progress=False)
    assert 0 < run_before.cpu_began < run.cpu_began
    recorded = run_result(run, run.task.score(run.model), "val")["provenance"][
        "process_cpu_seconds"
    ]
    assert recorded <= time.process_time() - run.cpu_began + 0.1
