"""OpenVINO: a folder of model.xml and model.bin, with preprocessing, network and answers, for OpenVINO's runtime.

fp16 halves what is stored of the weights; in which type a processor computes is OpenVINO's choice wherever it is opened
otherwise than by `alexnet.inference.runtime`, which asks for float32: bfloat16 where the processor has it.
"""

import tempfile
from pathlib import Path

from alexnet.errors import UsageError
from alexnet.export import onnx
from alexnet.export.formats import Order
from alexnet.export.metadata import metadata
from alexnet.inference.runtime import Engine, OpenVino
from alexnet.weights.exported import IR, RT_INFO


def write(order: Order, path: Path) -> None:
    """Fill the folder; UsageError for a network that ONNX cannot hold, and without the package openvino."""
    try:
        import openvino
    except ImportError as error:
        raise UsageError("writing for OpenVINO needs the package openvino; install it: pip install openvino") from error
    made = onnx.model(order)  # fp16 is the business of save_model
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(made.SerializeToString())
        found = openvino.convert_model(source)
        found.set_rt_info({}, ["framework"])
        for key, value in metadata(order.classifier.card, order.batched).items():
            found.set_rt_info(value, [RT_INFO, key.removeprefix("alexnet.")])
        openvino.save_model(found, path / IR, compress_to_fp16=order.precision == "fp16")


def engine(path: Path) -> Engine:
    """The folder in OpenVINO."""
    return OpenVino(path)
