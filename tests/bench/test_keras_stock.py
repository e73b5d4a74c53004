"""The Keras baselines are the same networks as ours. They are run only where TensorFlow is installed."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from alexnet.bench import keras_stock
from alexnet.networks.summary import summarize


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # Keras writes its settings there
        import keras

        yield keras


@pytest.mark.parametrize(("name", "build"), [("bvlc", keras_stock._bvlc), ("article", keras_stock._article)])
def test_keras_model_has_our_parameter_count_and_map_sizes(name: str, build: Any, keras: ModuleType) -> None:
    ours = summarize(name)
    model = build(keras, None, 1000 if name == "bvlc" else 17)
    assert model.count_params() == ours.params
    sizes = [layer.output.shape[1:] for layer in model.layers if "conv" in layer.name]
    expected = [layer.output_shape for layer in ours.layers if layer.kind == "Conv2d"]
    assert [[size[2], size[0], size[1]] for size in sizes] == expected


def test_training_step_runs() -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed; it comes with the extra bench")
    from alexnet.bench.measure import race

    contenders = [keras_stock.contender(name, 17, 2, 0.0) for name in ("bvlc", "article")]
    assert [series.missing for series in race("keras", contenders, repeats=1).values()] == ["", ""]
