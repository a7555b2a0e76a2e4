"""Trains the example model: a small convolutional classifier of handwritten digits.

    pip install -r requirements.txt
    python train.py

Writes, beside this file: digits.onnx, labels.txt, accuracy.json, and pictures/ (20 pictures of the test split, the digit in the
file's name). The data are the 1,797 digits that come with scikit-learn; see README.md for where they are from.
The seed is fixed. Another version of PyTorch or another processor may still round differently and give slightly other weights.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20
EPOCHS = 60
BATCH = 64
TEST_PICTURES_PER_DIGIT = 2
here = Path(__file__).resolve().parent


class DigitNet(nn.Module):
    """Three convolutions with batch normalisation, two poolings, one linear layer: [n, 1, 8, 8] in 0…1 to [n, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 2 * 2, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(image))


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Moves the batch by up to one pixel each way, so that the model does not learn positions by heart."""
    dy, dx = (int(v) for v in torch.randint(-1, 2, (2,), generator=generator))
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, 1 + dy : 9 + dy, 1 + dx : 9 + dx]


def train(images: torch.Tensor, labels: torch.Tensor) -> DigitNet:
    generator = torch.Generator().manual_seed(SEED)
    model = DigitNet()
    steps = EPOCHS * ((len(images) + BATCH - 1) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(model(shifted(images[batch], generator)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: DigitNet, path: Path) -> None:
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
    )
    exported = onnx.load(str(path))
    onnx.checker.check_model(exported, full_check=True)
    exported.doc_string = ""
    for node in exported.graph.node:
        node.doc_string = ""
    onnx.save(exported, str(path))


def write_pictures(pixels: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """The first pictures of every digit in the test split, at their own 8x8 pixels: nothing is resized on the way to the model."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for digit in range(10):
        for k, i in enumerate(np.flatnonzero(labels == digit)[:TEST_PICTURES_PER_DIGIT]):
            Image.fromarray(pixels[i]).save(folder / f"{digit}-{'abcdefgh'[k]}.png", optimize=True)


def main() -> None:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    data = load_digits()
    # 0…16 ink levels become the 8-bit grey of a PNG; the model sees grey / 255, as from a picture file.
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    train_x, test_x, train_y, test_y = train_test_split(pixels, data.target, test_size=0.25, random_state=SEED, stratify=data.target)

    def to_tensor(p: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(p).float().div(255).unsqueeze(1)

    model = train(to_tensor(train_x), torch.from_numpy(train_y))
    path = here / "digits.onnx"
    export(model, path)

    # Accuracy is that of the exported file, not of the model in memory.
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = to_tensor(test_x).numpy()
    guesses = np.array([int(session.run(["logits"], {"image": images[i : i + 1]})[0].argmax()) for i in range(len(images))])
    right = int((guesses == test_y).sum())
    (here / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    write_pictures(test_x, test_y, here / "pictures")
    report = {
        "test_accuracy": round(right / len(test_y), 4),
        "test_right": right,
        "test_images": len(test_y),
        "train_images": len(train_y),
        "parameters": sum(p.numel() for p in model.parameters()),
        "file_bytes": path.stat().st_size,
        "seed": SEED,
        "epochs": EPOCHS,
        "python": ".".join(str(v) for v in sys.version_info[:2]),
        "torch": torch.__version__.split("+")[0],
        "scikit_learn": sklearn.__version__,
    }
    (here / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
