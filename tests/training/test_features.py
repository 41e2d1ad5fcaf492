"""Training on cached features of a frozen backbone is training on images."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcnlab.datasets import NORMALIZATIONS, Shapes
from gcnlab.datasets.copies import FixedCopies
from gcnlab.evaluation import Inference, evaluate
from gcnlab.models import SegmentationNet, build_backbone
from gcnlab.training import (
    DataConfig,
    ModelConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    load_run,
    train,
)
from gcnlab.training import features as module
from gcnlab.training.features import CachedFeatures, OnFeatures, pack, unpack
from gcnlab.training.optimization import make_optimizer

CONFIG = RunConfig(
    ModelConfig(kernel_size=3, weights="mini-seed0", frozen_backbone=True),
    DataConfig(image_size=48, train_images=6, crop=(64, 64), copies=2),
    TrainingConfig(epochs=2, batch_size=2, precision="fp32"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def copies(number=2):
    return FixedCopies(Shapes("train", 5, 48), number, NORMALIZATIONS["imagenet"], (64, 96))


def run(config=CONFIG, **options):
    return train(config, progress=False, device="cpu", **options)


def test_unpacking_gives_the_maps_back():
    maps = [torch.randn(2, c, 96 // s, 64 // s) for c, s in ((3, 4), (5, 8), (2, 16), (7, 32))]
    packed = pack(maps)
    assert packed.shape == (2, 3 * 64 + 5 * 16 + 2 * 4 + 7, 3, 2)
    found = unpack(packed, (3, 5, 2, 7), (4, 8, 16, 32))
    assert all(torch.equal(a, b) for a, b in zip(maps, found))


@pytest.mark.parametrize(
    ("frozen", "maps"), [({"frozen_backbone": True}, 4), ({"frozen_stride": 8}, 2)]
)
def test_the_network_of_features_gives_the_logits_of_the_image(frozen, maps):
    model = SegmentationNet("mini", 4, kernel_size=5, **frozen).eval()
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        packed = pack(model.backbone(image)[:maps])
        torch.testing.assert_close(OnFeatures(model)(packed), model(image), rtol=0, atol=0)


def test_cached_features_are_those_of_the_copies(cache):
    data, backbone = copies(), build_backbone("mini").eval()
    cached = CachedFeatures(data, backbone, "test")
    assert len(cached) == 5
    for index in (0, 4):
        for seed in range(3):
            torch.manual_seed(seed)
            features, labels = cached[index]
            torch.manual_seed(seed)
            image, expected = data[index]
            with torch.no_grad():
                packed = pack(backbone(image.as_subclass(torch.Tensor)[None]))[0]
            torch.testing.assert_close(features.float(), packed, rtol=1e-3, atol=1e-4)
            assert torch.equal(labels, expected.as_subclass(torch.Tensor))


def count_copies(monkeypatch):
    seen, copy = [], FixedCopies.copy

    def counted(self, index, number):
        seen.append((index, number))
        return copy(self, index, number)

    monkeypatch.setattr(FixedCopies, "copy", counted)
    return seen


def test_features_are_computed_once_and_stale_ones_are_removed(cache, monkeypatch):
    backbone = build_backbone("mini").eval()
    CachedFeatures(copies(), backbone, "test")
    seen = count_copies(monkeypatch)
    CachedFeatures(copies(), backbone, "test")
    assert seen == [(0, 0)]  # for the key
    with torch.no_grad():
        backbone.conv1.weight[0, 0, 0, 0] += 1
    CachedFeatures(copies(), backbone, "test")
    assert len(set(seen)) == 5 * 2
    CachedFeatures(copies(3), backbone, "test")
    assert len(set(seen)) == 5 * 3
    assert [p.name for p in cache.iterdir() if p.is_dir()] == ["test"]
    assert np.load(cache / "test" / "features.npy", mmap_mode="r").shape[:2] == (5, 3)


def test_an_interrupted_computation_resumes(cache, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)
    backbone, data = build_backbone("mini").eval(), copies()
    expected = np.load(CachedFeatures(data, backbone, "whole").folder / "features.npy")
    copy = FixedCopies.copy

    def broken(self, index, number):
        if index == 3:
            raise ValueError("a damaged image")
        return copy(self, index, number)

    monkeypatch.setattr(FixedCopies, "copy", broken)
    with pytest.raises(ValueError, match="a damaged image"):
        CachedFeatures(data, backbone, "test")
    assert json.loads((cache / "test" / "key.json").read_text())["done"] == 2
    monkeypatch.setattr(FixedCopies, "copy", copy)
    seen = count_copies(monkeypatch)
    CachedFeatures(data, backbone, "test")
    assert {index for index, _ in seen[1:]} == {2, 3, 4}
    assert np.array_equal(np.load(cache / "test" / "features.npy"), expected)


def test_training_on_features_is_training_on_images(monkeypatch):
    on_features = run()
    monkeypatch.setattr(
        Segmentation, "training_network", lambda self, model, data, num_workers=0: (model, data)
    )
    on_images = run()
    np.testing.assert_allclose(on_features.losses[0], on_images.losses[0], rtol=1e-4)
    np.testing.assert_allclose(on_features.losses, on_images.losses, rtol=1e-2)  # half precision
    before = Segmentation(CONFIG).build_model().backbone.state_dict()
    for trained in (on_features, on_images):
        after = trained.model.backbone.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)  # statistics, too


def test_a_run_on_features_resumes_and_loads(tmp_path):
    whole = run(out=tmp_path / "run")
    again = run(out=tmp_path / "run")  # from its checkpoint: nothing to do
    loaded = load_run(tmp_path / "run")
    assert whole.losses == again.losses == loaded.losses
    image = torch.randn(1, 3, 80, 72)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(image), whole.model(image), rtol=0, atol=0)
    assert not any(p.requires_grad for p in loaded.model.backbone.parameters())


CUT = replace(CONFIG, model=replace(CONFIG.model, frozen_backbone=False, frozen_stride=8))


def test_training_what_follows_the_cached_maps_is_training_on_images(cache, monkeypatch):
    on_features = run(CUT)
    assert [p.name for p in cache.iterdir() if p.is_dir()] == ["shapes-mini-stride8"]
    monkeypatch.setattr(
        Segmentation, "training_network", lambda self, model, data, num_workers=0: (model, data)
    )
    on_images = run(CUT)
    np.testing.assert_allclose(on_features.losses[0], on_images.losses[0], rtol=1e-4)
    np.testing.assert_allclose(on_features.losses, on_images.losses, rtol=1e-2)  # half precision
    before = Segmentation(CUT).build_model().backbone.state_dict()
    after = on_features.model.backbone.state_dict()
    frozen = {name for name in before if name.startswith(("conv1", "bn1", "layer1", "layer2"))}
    assert frozen == {name for name in before if torch.equal(before[name], after[name])}


def test_the_cached_maps_serve_a_resumed_run(tmp_path, monkeypatch):
    """Its trained layers differ from those at the start; its frozen ones do not."""
    out = tmp_path / "run"
    whole = run(CUT)

    def stop(step, steps, loss):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(CUT, out=out, on_step=stop)
    seen = count_copies(monkeypatch)
    resumed = run(CUT, out=out)
    assert seen == [(0, 0)]  # for the key
    assert resumed.losses == whole.losses


def test_both_kinds_of_freezing_at_once_are_refused():
    with pytest.raises(ValueError, match=r"model\.frozen_stride must be None with"):
        replace(CONFIG.model, frozen_stride=8)
    with pytest.raises(ValueError, match=r"model\.frozen_stride must be 4, 8, 16 or None"):
        ModelConfig(frozen_stride=32)


@pytest.mark.slow
def test_workers_give_the_same_features(cache):
    backbone = build_backbone("mini").eval()
    here = CachedFeatures(copies(), backbone, "here").folder
    there = CachedFeatures(copies(), backbone, "there", num_workers=2).folder
    for name in ("features.npy", "labels.npy"):
        assert np.array_equal(np.load(here / name), np.load(there / name))


def test_a_crop_that_does_not_fit_is_refused():
    config = replace(CONFIG, data=replace(CONFIG.data, crop=(48, 64)))
    with pytest.raises(ValueError, match=r"data\.crop must be a multiple of 32"):
        run(config)


def test_copies_need_a_crop():
    with pytest.raises(ValueError, match=r"data\.copies must be given with data\.crop"):
        DataConfig(copies=2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GCNLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write features to .*GCNLAB_CACHE"):
        run()


def test_the_backbone_has_its_own_learning_rate():
    model = SegmentationNet("mini", 4, kernel_size=3)
    groups = make_optimizer(model, TrainingConfig(backbone_rate=0.1)).param_groups
    own = {id(p) for p in model.backbone.parameters()}
    for group in groups:
        inside = {id(p) in own for p in group["params"]}
        assert inside <= {group["factor"] == 0.1}  # a group may be empty
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    rates = []

    def watch(step, steps, loss):
        rates.append(loss)

    moved = run(
        replace(
            CONFIG,
            model=replace(CONFIG.model, frozen_backbone=False),
            data=replace(CONFIG.data, copies=None),
            training=replace(CONFIG.training, backbone_rate=1e-9, epochs=1),
        ),
        on_step=watch,
    )
    before = Segmentation(CONFIG).build_model()
    for (name, was), now in zip(before.named_parameters(), moved.model.parameters()):
        change = (was - now).abs().max().item()
        assert (change < 1e-6) == name.startswith("backbone."), name
    assert len(rates) == 3


def test_a_classifier_has_one_learning_rate():
    with pytest.raises(ValueError, match=r"training\.backbone_rate"):
        make_optimizer(torch.nn.Linear(2, 2), TrainingConfig(backbone_rate=0.5))


def test_padding_in_evaluation_is_that_of_training():
    config = replace(CONFIG, data=replace(CONFIG.data, pad=True))
    trained = run(config)
    image = torch.randn(1, 3, 48, 40)
    padded = torch.nn.functional.pad(image, (0, 24, 0, 16))
    with torch.no_grad():
        expected = trained.model(padded)[:, :, :48, :40].argmax(1)[0]
    assert torch.equal(trained.predictor().class_ids(image[0]), expected)
    scores = trained.task.score(trained.model, progress=False)
    again = evaluate(trained.predictor(), trained.evaluation_set(), progress=False)
    assert scores == again
    larger = trained.predictor(Inference(pad_to=(96, 96)))
    assert larger.inference.pad_to == (96, 96)
    assert run(CONFIG).predictor().inference.pad_to is None


def test_padding_needs_a_crop():
    with pytest.raises(ValueError, match=r"data\.pad must be given with data\.crop"):
        DataConfig(pad=True)
