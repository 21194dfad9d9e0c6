from torch.utils.data import DataLoader
from torchvision.transforms import v2

import everymask as em
from everymask.train.own_loop.torch_dataset import TorchDataset, as_lists

data = TorchDataset(em.read_dataset("data"), transforms=v2.RandomHorizontalFlip())
loader = DataLoader(data, batch_size=2, shuffle=True, collate_fn=as_lists)
for images, targets in loader:  # losses = torchvision_detector(images, targets)
    print([tuple(image.shape) for image in images], [len(target["labels"]) for target in targets])
