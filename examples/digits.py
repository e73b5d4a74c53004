"""Handwritten digits in three lines of Python; `alexnet demo` does the same on the command line."""

from alexnet.inference.evaluate import evaluate
from alexnet.training.recipes import recipe
from alexnet.training.run import train

run = train("digits", recipe("modern", input_size=64, epochs=12, augment="", mixup=0, cutmix=0))
print(f"{evaluate(run, 'digits')['top1']:.1%} of the held-out digits; everything else is in {run}")
