"""pipeline_torch.py albumentations|torchvision DIR SIZE BATCH WORKERS: images/s of a torch DataLoader's epoch."""
import sys

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pictures import cutmix, list_pictures
from rounds import answer_rounds, rate

library, folder, size, batch, workers = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])


class Albumentations(Dataset):
    def __init__(self):
        import albumentations as A
        self.files, self.labels, self.classes = list_pictures(folder)
        self.transform = A.Compose([
            A.Resize(size, size, interpolation=cv2.INTER_LINEAR),
            A.Affine(scale={"x": (0.8, 1.2), "y": (0.8, 1.2)}, translate_percent=(-0.1, 0.1), rotate=(-15, 15),
                     shear=(-0.1, 0.1), interpolation=cv2.INTER_LINEAR, border_mode=cv2.BORDER_REPLICATE, p=1),
            A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5),
            A.RandomBrightnessContrast(brightness_limit=0.4, contrast_limit=0, p=1)])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(image=cv2.cvtColor(cv2.imread(self.files[i]), cv2.COLOR_BGR2RGB))["image"], self.labels[i]

    def collate(self, samples):
        pixels = np.stack([picture for picture, _ in samples])
        labels = np.eye(self.classes, dtype=np.float32)[[label for _, label in samples]]
        pixels, labels = cutmix(pixels, labels, np.random.default_rng())
        return torch.from_numpy(pixels), torch.from_numpy(labels)


class Torchvision(Dataset):
    def __init__(self):
        from torchvision.transforms import v2
        self.files, self.labels, self.classes = list_pictures(folder)
        self.transform = v2.Compose([
            v2.Resize((size, size), antialias=False),
            v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-0.1, 0.1, -0.1, 0.1), v2.InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(brightness=(0.6, 1.4))])
        self.mix = v2.CutMix(num_classes=self.classes)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        from torchvision.io import ImageReadMode, decode_image
        return self.transform(decode_image(self.files[i], ImageReadMode.RGB)), self.labels[i]

    def collate(self, samples):
        return self.mix(torch.stack([picture for picture, _ in samples]), torch.tensor([label for _, label in samples]))


def one_thread(_):
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


if __name__ == "__main__":
    data = {"albumentations": Albumentations, "torchvision": Torchvision}[library]()
    loader = DataLoader(data, batch, shuffle=True, num_workers=workers, collate_fn=data.collate,
                        persistent_workers=True, worker_init_fn=one_thread)
    epoch = lambda: sum(len(pixels) for pixels, _ in loader)
    epoch()
    answer_rounds(lambda: rate(epoch, 0))
